from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

import pytest
import torch
from tiny_kblam import WordEncoder, make_adapter, make_decoder, make_tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from kblam import adapter as adapters
from kblam._loading import load_tokenizer
from kblam.config import KnowledgeConfig, SelectionConfig
from kblam.decoder import KnowledgeAdapter, attention_layout
from kblam.model import KBLaM
from kblam.weights import DEFAULT_BASE


class Folders(NamedTuple):
    base: Path
    adapter: Path


@pytest.fixture(scope="session")
def real_model() -> KBLaM:
    """SmolLM2 as it is, for what needs replies that make sense."""
    return KBLaM.from_pretrained(adapter=None)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """A tiny random decoder with SmolLM2's tokenizer, and an untrained adapter for it."""
    torch.manual_seed(0)
    tokenizer = load_tokenizer(DEFAULT_BASE)
    shape = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    decoder = LlamaForCausalLM(shape).eval()
    folders = Folders(tmp_path_factory.mktemp("base"), tmp_path_factory.mktemp("adapter"))
    decoder.save_pretrained(folders.base)
    tokenizer.save_pretrained(folders.base)
    config = KnowledgeConfig(
        encoder="all-MiniLM-L6-v2",
        encoder_dimension=384,
        knowledge_layers=(1, 3),
        hidden_size=32,
        num_heads=4,
        num_key_heads=2,
        head_dim=8,
        selection=SelectionConfig(layer=1),
        grounded=True,
    )
    adapter = KnowledgeAdapter(config, attention_layout(decoder))
    adapters.save_pretrained(adapter, folders.adapter, decoder, base_model=str(folders.base))
    return folders


@pytest.fixture(scope="session")
def model(tiny: Folders) -> KBLaM:
    """The tiny decoder with its adapter, whose selection is dense retrieval."""
    return KBLaM.from_pretrained(tiny.base, adapter=tiny.adapter)


@pytest.fixture(scope="session")
def make_words_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., KBLaM]:
    """Makes a tiny random decoder with an encoder of words: needs no weights, answers at once."""

    def make(copies: Literal["never", "after a colon"] = "never") -> KBLaM:
        folder = tmp_path_factory.mktemp("words")
        encoder, tokenizer = WordEncoder(), make_tokenizer()
        decoder = make_decoder(tokenizer, context=1024)
        decoder.save_pretrained(folder / "base")
        tokenizer.save_pretrained(folder / "base")
        adapter = make_adapter(decoder, encoder, copies=copies)
        adapters.save_pretrained(
            adapter, folder / "adapter", decoder, base_model=str(folder / "base")
        )
        return KBLaM.from_pretrained(folder / "base", adapter=folder / "adapter", encoder=encoder)

    return make


@pytest.fixture(scope="session")
def words_model(make_words_model: Callable[..., KBLaM]) -> KBLaM:
    """A tiny model whose facts change what it says, and that never copies or refuses."""
    return make_words_model()
