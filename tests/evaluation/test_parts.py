from __future__ import annotations

import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kblam.evaluation import EvaluationConfig
from kblam.model import KBLaM

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data" / "evaluation"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "benchmarks" / "parts.py"))


def settings(**changes: Any) -> EvaluationConfig:
    fixed: dict[str, Any] = {
        "facts": DATA / "facts.jsonl",
        "questions": DATA / "questions.jsonl",
        "limit": 6,
        "max_new_tokens": 24,
        "batch_size": 6,
        "timed_questions": 1,
        "bootstrap": 20,
    }
    return EvaluationConfig(**fixed | changes)


def by_part(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {row["part"]: row for row in rows}


def test_each_part_is_switched_off_by_itself(
    script: dict[str, Any], make_words_model: Callable[..., KBLaM], tmp_path: Path
) -> None:
    copying = make_words_model(copies="after a colon")
    head = copying._engine.decoder.adapter.selection  # type: ignore[union-attr]
    rows = by_part(script["measure"](copying, settings(), tmp_path))
    everything = rows["all parts"]
    # An untrained adapter selects by the encoder alone; what its decoder adds is nothing.
    assert everything["recall_at_1"] == rows["selection: encoder only"]["recall_at_1"]
    assert everything["recall_at_1"] > rows["selection: decoder only"]["recall_at_1"]
    assert everything["contains"] > rows["no copying"]["contains"] == 0.0
    assert rows["no copying"]["settings"]["grounding"] == "off"
    assert rows["no refusing"]["contains"] == everything["contains"]
    assert head is not None
    assert head.sources == "both"
    assert len(list(tmp_path.glob("*.jsonl"))) == len(rows) == 5
    table = script["as_table"](list(rows.values()))
    assert "| all parts |" in table
    assert table.count("[") >= 10


def test_refusals_are_what_the_refusal_estimate_makes(
    script: dict[str, Any], words_model: KBLaM
) -> None:
    refusing = words_model.with_options(refusal_threshold=0.0)
    rows = by_part(script["measure"](refusing, settings(limit=3), None))
    assert rows["all parts"]["num_refused"] == rows["no copying"]["num_refused"] == 3
    assert rows["no refusing"]["num_refused"] == 0


@pytest.mark.weights
def test_the_command_writes_what_it_prints(
    script: dict[str, Any], tiny: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--facts", str(DATA / "facts.jsonl"), "--limit", "2", "--max-new-tokens", "1"]
    arguments += ["--questions", str(DATA / "questions.jsonl"), "--num-facts", "5"]
    arguments += ["--base-model", str(tiny.base), "--adapter", str(tiny.adapter)]
    script["main"]([*arguments, "--bootstrap", "5", "--json", str(tmp_path / "new" / "parts.json")])
    written = json.loads((tmp_path / "new" / "parts.json").read_text("utf-8"))
    assert [row["num_questions"] for row in written["rows"]] == [2] * 5
    assert "| selection: decoder only |" in capsys.readouterr().out
