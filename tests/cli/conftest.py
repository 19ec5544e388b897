"""A tiny random model with an untrained adapter: what is tested here is the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from typer.testing import CliRunner

from kblam.adapter import save_pretrained
from kblam.cli import app
from kblam.config import KnowledgeConfig, SelectionConfig
from kblam.decoder.layout import attention_layout
from kblam.decoder.modules import KnowledgeAdapter

FACTS = [
    {"entity": "Aurora", "property": "launch code", "value": "QX-7719"},
    {"entity": "Aurora", "property": "project lead", "value": "Mirela Osei"},
    {"entity": "Borealis", "property": "project lead", "value": "Tomas Lindqvist"},
]


@pytest.fixture
def facts_file(tmp_path) -> Path:
    path = tmp_path / "facts.jsonl"
    path.write_text("\n".join(map(json.dumps, FACTS)), encoding="utf-8")
    return path


@pytest.fixture
def kblam(monkeypatch):
    """Runs the command line and returns what a person would see."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments, code: int = 0):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if result.exit_code != code:
            raise AssertionError(f"exit code {result.exit_code}\n{result.output}") from (
                result.exception
            )
        return result

    return run


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> list[str]:
    """The options that choose a tiny model and its adapter."""
    folder = tmp_path_factory.mktemp("tiny")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        special_tokens=["<end>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([str(fact) for fact in FACTS], trainer)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>").save_pretrained(folder)
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=tokenizer.get_vocab_size(),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=256,
            eos_token_id=0,
        )
    )
    model.save_pretrained(folder)
    config = KnowledgeConfig(
        encoder="all-MiniLM-L6-v2",
        encoder_dimension=384,
        knowledge_layers=(1, 2),
        hidden_size=32,
        num_heads=4,
        num_key_heads=2,
        head_dim=8,
        selection=SelectionConfig(layer=1, top_k=3),
        grounded=True,
    )
    adapter = KnowledgeAdapter(config, attention_layout(model))
    assert adapter.refusal is not None
    with torch.no_grad():
        adapter.refusal.bias.fill_(-20.0)  # an untrained one that does not refuse
    save_pretrained(adapter, folder / "adapter", model, base_model=str(folder))
    return ["--base-model", str(folder), "--adapter", str(folder / "adapter")]
