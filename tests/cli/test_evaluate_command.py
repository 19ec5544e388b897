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
    lengths = ("--max-new-tokens", 3, "--batch-size", 2, "--context-tokens", 500)
    kblam("evaluate", *files, *tiny_model, *chosen, *lengths, "--json", out)
    settings = json.loads(out.read_text("utf-8"))["settings"]
    assert settings["retrieval"]["top_k"] == 2
    assert settings["wording"] == "plain"
    assert settings["max_new_tokens"] == 3
    assert settings["batch_size"] == 2
    assert settings["context_tokens"] == 500
    assert settings["grounding"] == "off"


@pytest.mark.parametrize("task", ["questions", "preservation"])
def test_a_result_may_go_to_a_new_folder(kblam, files, tiny_model, tmp_path: Path, task) -> None:
    out = tmp_path / "new" / "out.json"
    named = files if task == "questions" else files[:2]
    short = ("--limit", 2, "--max-new-tokens", 1)
    kblam("evaluate", "--task", task, *named, *tiny_model, *short, "--json", out)
    assert json.loads(out.read_text("utf-8"))["num_facts"] == 3


@pytest.mark.parametrize("task", ["questions", "preservation"])
def test_nothing_is_asked_where_no_result_can_be_written(
    kblam, files, tiny_model, tmp_path: Path, task
) -> None:
    named = files if task == "questions" else files[:2]
    answers = tmp_path / "answers.jsonl"
    arguments = ("evaluate", "--task", task, *named, *tiny_model, "--resume", answers)
    message = kblam(*arguments, "--json", tmp_path, code=2).stderr
    assert "Expected to read or write" in message
    assert not answers.exists()
    kblam("evaluate", *files[:2], "--questions", "none", "--json", tmp_path / "new.json", code=2)
    assert not (tmp_path / "new.json").exists()


def test_an_unknown_wording_is_refused(kblam, files) -> None:
    message = kblam("evaluate", *files, "--wording", "rude", code=2).stderr
    assert "Expected a wording among" in message


def test_preservation_needs_no_questions(kblam, files, tiny_model, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    arguments = ("evaluate", "--task", "preservation", *files[:2], *tiny_model)
    short = ("--limit", 2, "--max-new-tokens", 2, "--seed", 5)
    printed = kblam(*arguments, *short, "--json", out).output
    assert "kl per token" in printed
    result = json.loads(out.read_text("utf-8"))
    assert (result["task"], result["num_prompts"], result["num_facts"]) == ("preservation", 2, 3)


def test_a_suite_fills_a_folder(kblam, files, tiny_model, tmp_path: Path) -> None:
    chosen = ("--task", "questions", "--sizes", "2, all", "--methods", "kblam,base", "--limit", 2)
    lengths = ("--max-new-tokens", 2, "--context-tokens", 500)
    arguments = ("evaluate", *files, *tiny_model, *chosen, *lengths, "--wording", "plain")
    printed = kblam(*arguments, "--suite", tmp_path / "suite").output
    assert "results.md" in printed
    found = {path.name for path in (tmp_path / "suite").iterdir() if path.is_file()}
    settings = json.loads((tmp_path / "suite" / "suite.json").read_text("utf-8"))
    assert (settings["context_tokens"], settings["wording"]) == (500, "plain")
    assert {"results.json", "results.md", "quality.png", "refusal.png"} <= found
    cells = {path.stem for path in (tmp_path / "suite" / "cells").glob("*.json")}
    assert cells == {"kblam-2", "kblam-all", "attention-2", "attention-all", "base"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--task", "preservation"), "Expected no --questions with --task preservation"),
        (("--suite", "out", "--method", "rag"), "Expected no --method with --suite"),
        (("--suite", "out", "--sizes", "many"), "Expected --sizes like 100,1000,all, got 'many'"),
        (("--suite", "out", "--methods", "magic"), "Expected methods among"),
        (("--sizes", "100"), "Expected no --sizes with one evaluation"),
        (("--top-k", "1", "--top-k", "5"), "Expected one --top-k without --suite"),
    ],
)
def test_options_that_do_not_go_together(kblam, files, arguments, message) -> None:
    assert message in kblam("evaluate", *files, *arguments, code=2).stderr


def test_questions_are_needed(kblam, files) -> None:
    assert "Give --questions" in kblam("evaluate", *files[:2], code=2).stderr
