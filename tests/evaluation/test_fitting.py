"""Prompts that do not fit the model's window: fewer facts, or an error at once."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from kblam.errors import PromptTooLongError
from kblam.evaluation import METHODS, EvaluationConfig, RetrievalConfig, evaluate
from kblam.evaluation.attention import evaluate_attention
from kblam.model import KBLaM


def jsonl(path: Path, rows: Iterable[Any]) -> Path:
    path.write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    """Of facts of which 20 do not fit."""
    facts = [
        {
            "entity": f"Proj{i}",
            "property": "summary",
            "value": " ".join(f"w{i}x{j}" for j in range(40)),
        }
        for i in range(30)
    ]
    questions = [
        {"question": f"What is the summary of Proj{i}?", "answers": [facts[i]["value"]]}
        for i in range(3)
    ]
    return {
        "facts": jsonl(tmp_path / "facts.jsonl", facts),
        "questions": jsonl(tmp_path / "questions.jsonl", questions),
        "max_new_tokens": 6,
        "bootstrap": 0,
        "resume": tmp_path / "resume.jsonl",
    }


@pytest.mark.parametrize("method", ["rag", "bm25"])
def test_as_many_of_the_best_facts_as_fit_are_pasted(
    words_model: KBLaM, settings: dict[str, Any], method: Any
) -> None:
    config = EvaluationConfig(method=method, retrieval=RetrievalConfig(top_k=20), **settings)
    window = words_model.context_window
    for _ in ("asked", "resumed"):
        result = evaluate(config, model=words_model, progress=False)
        assert result.notes == (
            "Not all of the top 20 facts fit the context with 3 of 3 questions: the best of them "
            "that fit were pasted.",
        )
        assert all(window / 2 < r.input_tokens <= window - 6 for r in result.records)


def test_facts_that_fit_are_all_pasted(words_model: KBLaM, settings: dict[str, Any]) -> None:
    config = EvaluationConfig(method="rag", retrieval=RetrievalConfig(top_k=2), **settings)
    assert evaluate(config, model=words_model, progress=False).notes == ()


@pytest.mark.parametrize("method", METHODS)
def test_a_question_that_is_too_long_is_named_before_the_first_is_asked(
    words_model: KBLaM, settings: dict[str, Any], method: Any
) -> None:
    asked = [{"question": "Who?", "answers": []}, {"question": "x y " * 2000, "answers": []}]
    jsonl(settings["questions"], asked)
    config = EvaluationConfig(method=method, **settings)
    with pytest.raises(PromptTooLongError, match=r"questions\.jsonl, line 2"):
        evaluate(config, model=words_model, progress=False)
    if method == "kblam":
        with pytest.raises(PromptTooLongError, match=r"questions\.jsonl, line 2"):
            evaluate_attention(config, model=words_model, progress=False)
    assert not settings["resume"].exists()
