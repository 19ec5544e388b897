from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kblam.errors import ConfigError
from kblam.evaluation import METHODS, SuiteConfig, run_suite
from kblam.evaluation.report import markdown
from kblam.evaluation.suite_plan import plan_suite
from kblam.model import KBLaM

DATA = Path(__file__).parents[1] / "data" / "evaluation"


def suite(folder: Path, **changes: Any) -> SuiteConfig:
    fixed: dict[str, Any] = {
        "facts": DATA / "facts.jsonl",
        "questions": DATA / "questions.jsonl",
        "output": folder,
        "sizes": (6, None),
        "methods": ("kblam", "base", "rag", "cached-prefix"),
        "top_k": (1, 2),
        "limit": 4,
        "max_new_tokens": 4,
        "preservation_facts": 5,
        "preservation_prompts": 2,
        "attention_questions": 3,
        "bootstrap": 20,
    }
    return SuiteConfig(**fixed | changes)


def test_a_suite_measures_everything_and_reports_it(words_model: KBLaM, tmp_path: Path) -> None:
    outcome = run_suite(suite(tmp_path / "new"), model=words_model, progress=False)
    folder = tmp_path / "new"
    assert json.loads((folder / "results.json").read_text("utf-8")) == outcome
    labels = [(r["label"], r["num_facts"]) for r in outcome["questions"]]
    assert labels == [
        ("kblam", 6),
        ("kblam", 45),
        ("base", 45),
        ("rag top 1", 6),
        ("rag top 2", 6),
        ("rag top 1", 45),
        ("rag top 2", 45),
        ("cached-prefix", 6),
        ("cached-prefix", 45),
    ]
    assert [r["num_facts"] for r in outcome["attention"]] == [6, 45]
    assert outcome["preservation"]["num_prompts"] == 2
    report = (folder / "results.md").read_text("utf-8")
    for text in ("## 6 facts", "## 45 facts", "| rag top 2 |", "## Attention by layer", "KL(base"):
        assert text in report
    for name in ("quality", "refusal", "attention"):
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_attention_is_told_by_layer(words_model: KBLaM, tmp_path: Path) -> None:
    config = suite(tmp_path, methods=("kblam",), sizes=(None,), preservation_prompts=0)
    outcome = run_suite(config, model=words_model, progress=False)
    assert outcome["preservation"] is None
    (traced,) = outcome["attention"]
    assert traced["layers"] == [1, 2]
    assert traced["num_questions"] == 3
    for name in ("gold_share", "fact_share", "recall_at_1"):
        assert len(traced[name]) == len(traced["intervals"][name]) == 2
        assert all(0.0 <= value <= 1.0 for value in traced[name])
    assert all(
        g <= f + 1e-6 for g, f in zip(traced["gold_share"], traced["fact_share"], strict=True)
    )
    # Selection of an untrained adapter is dense retrieval.
    assert traced["selected_at_1"] >= 0.5


def test_a_cut_suite_goes_on(
    words_model: KBLaM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = suite(tmp_path, methods=("kblam", "base"), sizes=(None,))
    whole = run_suite(config, model=words_model, progress=False)
    cells = tmp_path / "cells"
    kept = {path.name: path.stat().st_mtime_ns for path in cells.glob("kblam*.json")}
    # As a killed run leaves it: one cell has answered two of its questions, one has not begun.
    (cells / "base.json").unlink()
    answered = (cells / "base.jsonl").read_text("utf-8").splitlines(keepends=True)
    (cells / "base.jsonl").write_text("".join(answered[:3]) + answered[3][:9], encoding="utf-8")
    (cells / "preservation.json").unlink()
    (cells / "preservation.jsonl").unlink()
    again = run_suite(config, model=words_model, progress=False)
    assert {path.name: path.stat().st_mtime_ns for path in cells.glob("kblam*.json")} == kept
    assert again["questions"][0] == whole["questions"][0]
    assert again["questions"][1]["contains"] == whole["questions"][1]["contains"]
    lines = (cells / "base.jsonl").read_text("utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    assert records[:3] == [json.loads(line) for line in answered[:3]]
    assert len(records) == 5

    # More methods and sizes may be added; other settings are another suite.
    more = run_suite(replace(config, methods=("kblam",)), model=words_model, progress=False)
    assert [r["label"] for r in more["questions"]] == ["kblam"]
    with pytest.raises(ConfigError, match="these settings differ: limit, seed"):
        run_suite(replace(config, seed=3, limit=2), model=words_model, progress=False)


def test_a_plan_asks_no_more_questions_than_there_are_facts(tmp_path: Path) -> None:
    config = suite(tmp_path, limit=None, sizes=(6, 45, 1000, None), methods=METHODS)
    cells = {cell.name: cell.config for cell in plan_suite(config)}
    assert cells["kblam-6"].limit == 6
    assert cells["kblam-all"].limit is None
    assert "kblam-1000" not in cells
    assert "kblam-45" not in cells  # that is all
    assert {"base", "rag-top2-6", "bm25-top1-all", "attention-6", "preservation"} <= set(cells)
    assert [cell.informed for cell in plan_suite(config)] == sorted(
        (cell.informed for cell in plan_suite(config)), reverse=True
    )


def test_a_suite_of_another_adapter_is_not_continued(
    words_model: KBLaM, make_words_model: Callable[..., KBLaM], tmp_path: Path
) -> None:
    other = make_words_model("after a colon")
    baselines = suite(tmp_path, methods=("base",), preservation_prompts=0, attention_questions=0)
    run_suite(baselines, model=other, progress=False)  # they depend on no adapter
    both = replace(baselines, methods=("kblam", "base"), sizes=(6,))
    run_suite(both, model=words_model, progress=False)
    with pytest.raises(ConfigError, match="these settings differ: adapter_fingerprint"):
        run_suite(both, model=other, progress=False)
    run_suite(baselines, model=other, progress=False)
    run_suite(both, model=words_model, progress=False)


@pytest.mark.parametrize("sizes", [(6, 45), (6, 45, None), (6, None, 45)])
def test_as_many_facts_as_there_are_is_all(tmp_path: Path, sizes: tuple[int | None, ...]) -> None:
    config = suite(tmp_path, sizes=sizes, methods=("rag",), top_k=(1,), preservation_prompts=0)
    assert [cell.name for cell in plan_suite(config)] == ["rag-top1-6", "rag-top1-all"]


def test_an_unfinished_report_can_be_read() -> None:
    settings = {"facts": {"file": "f.jsonl"}, "questions": {"file": "q.jsonl"}}
    empty = {"settings": settings, "questions": [], "attention": [], "preservation": None}
    assert markdown(empty) == "# Evaluation\n"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"methods": ("magic",)}, "got magic"),
        ({"methods": ()}, "got none"),
        ({"sizes": ()}, "sizes >= 1"),
        ({"sizes": (0,)}, "sizes >= 1"),
        ({"top_k": (0,)}, "top_k of 1 or more"),
    ],
)
def test_bad_settings_are_refused(change: dict[str, Any], complaint: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=complaint):
        suite(tmp_path, **change)


def test_missing_files_are_named(tmp_path: Path, words_model: KBLaM) -> None:
    with pytest.raises(ConfigError, match=r"JSONL file of facts at .*none\.jsonl"):
        run_suite(suite(tmp_path, facts=tmp_path / "none.jsonl"), model=words_model)
