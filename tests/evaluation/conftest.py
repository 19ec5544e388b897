from __future__ import annotations

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from kblam import adapter as adapters
from kblam.config import KnowledgeConfig, SelectionConfig
from kblam.decoder import KnowledgeAdapter, attention_layout
from kblam.model import KBLaM


@pytest.fixture(scope="session")
def real_model() -> KBLaM:
    """SmolLM2 as it is, for what needs replies that make sense."""
    return KBLaM.from_pretrained(adapter=None)


@pytest.fixture(scope="session")
def model(real_model: KBLaM, tmp_path_factory: pytest.TempPathFactory) -> KBLaM:
    """A tiny random decoder with an untrained adapter, whose selection is dense retrieval."""
    torch.manual_seed(0)
    tokenizer = real_model.tokenizer
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
    config = KnowledgeConfig(
        encoder="all-MiniLM-L6-v2",
        encoder_dimension=384,
        knowledge_layers=(1, 3),
        hidden_size=32,
        num_heads=4,
        num_key_heads=2,
        head_dim=8,
        selection=SelectionConfig(layer=1),
    )
    folder = adapters.save_pretrained(
        KnowledgeAdapter(config, attention_layout(decoder)),
        tmp_path_factory.mktemp("adapter"),
        decoder,
        base_model="tiny",
    )
    return KBLaM.from_pretrained(decoder, tokenizer=tokenizer, adapter=folder)
