"""``kblam evaluate``, as a person runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.weights  # of the sentence encoder

QUESTIONS = [
    {"question": "What is the launch code of Aurora?", "answers": ["QX-7719"]},
    {"question": "Who leads Borealis?", "answers": ["Tomas Lindqvist"], "entity": "Borealis"},
    {"question": "What is the budget of Aurora?", "answers": []},
]


@pytest.fixture
def files(facts_file, tmp_path) -> list[str]:
    """The options that name the facts and the questions."""
    questions = tmp_path / "questions.jsonl"
    questions.write_text("\n".join(map(json.dumps, QUESTIONS)), encoding="utf-8")
    return ["--facts", str(facts_file), "--questions", str(questions)]


def test_settings_reach_the_evaluation(kblam, files, tiny_model, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    chosen = ("--method", "rag", "--top-k", 2, "--wording", "plain", "--grounding", "off")
    lengths = ("--max-new-tokens", 3, "--batch-size", 2)
    kblam("evaluate", *files, *tiny_model, *chosen, *lengths, "--json", out)
    settings = json.loads(out.read_text("utf-8"))["settings"]
    assert settings["retrieval"]["top_k"] == 2
    assert settings["wording"] == "plain"
    assert settings["max_new_tokens"] == 3
    assert settings["batch_size"] == 2
    assert settings["grounding"] == "off"


def test_an_unknown_wording_is_refused(kblam, files) -> None:
    message = kblam("evaluate", *files, "--wording", "rude", code=2).stderr
    assert "Expected a wording among" in message
