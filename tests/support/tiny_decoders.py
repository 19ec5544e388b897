"""Tiny random decoders of many families, adapters and facts for them."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from kblam.config import COPY_PARTS, KnowledgeConfig, SelectionConfig
from kblam.decoder import (
    AttachedDecoder,
    FactInput,
    KnowledgeAdapter,
    attach,
    attention_layout,
)

SMALL: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 128,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_EXTRA: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {},
    "qwen3": {},
    "qwen3_moe": {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32},
    "mistral": {},
    "phi": {"num_key_value_heads": 4},
    "phi3": {},
    "gemma2": {"query_pre_attn_scalar": 16, "sliding_window": 32},
    "gemma3_text": {"query_pre_attn_scalar": 16, "sliding_window": 32},
    "smollm3": {},
    "olmo2": {},
    "granite": {},
    "gpt_neox": {},
    "starcoder2": {},
    "cohere2": {},
    "glm4": {},
    "qwen3_5_text": {"layer_types": ["linear_attention", "full_attention"] * 2},
    "lfm2": {"layer_types": ["conv", "full_attention"] * 2},
    "gpt_oss": {"num_local_experts": 4, "num_experts_per_tok": 2},
}
FAMILIES = sorted(_EXTRA)


def make_model(family: str, seed: int = 0, **given: Any) -> PreTrainedModel:
    torch.manual_seed(seed)
    settings = {**SMALL, **_EXTRA.get(family, {}), **given}
    if family in ("phi", "gpt_neox", "starcoder2", "falcon"):
        settings.pop("head_dim")
    config = AutoConfig.for_model(family, **settings)
    if family == "gpt_neox":
        config.num_key_value_heads = 4
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    return model.eval().requires_grad_(False)  # type: ignore[no-any-return]


def make_adapter(
    model: PreTrainedModel,
    *,
    selection: bool = True,
    query_head: Any = "full",
    top_k: int = 4,
    matching: bool = False,
    copied: tuple[str, ...] = COPY_PARTS[:1],
    coverage: bool = False,
) -> KnowledgeAdapter:
    layout = attention_layout(model)
    layers = tuple(layout.modules)[-2:]
    config = KnowledgeConfig(
        encoder="random",
        encoder_dimension=12,
        knowledge_layers=layers,
        hidden_size=layout.hidden_size,
        num_heads=layout.num_heads,
        num_key_heads=layout.num_key_value_heads,
        head_dim=layout.head_dim,
        query_head=query_head,
        lora_rank=2,
        selection=SelectionConfig(layers[0], top_k=top_k, pools=2, matching=matching)
        if selection
        else None,
        grounded=selection,
        copied=copied,
        coverage=coverage,
    )
    torch.manual_seed(1)
    adapter = KnowledgeAdapter(config, layout).eval().requires_grad_(False)
    for name, parameter in adapter.named_parameters():
        if ".query." not in name and parameter.dim() > 1:
            # By name, so that adapters with other query heads are otherwise equal.
            generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
            parameter.normal_(std=0.5, generator=generator)
    return adapter


def make_facts(num_facts: int, rows: int | None = None, seed: int = 2) -> FactInput:
    generator = torch.Generator().manual_seed(seed)
    shape = (num_facts, 12) if rows is None else (rows, num_facts, 12)
    keys = torch.nn.functional.normalize(torch.randn(shape, generator=generator), dim=-1)
    values = torch.nn.functional.normalize(torch.randn(shape, generator=generator), dim=-1)
    return FactInput(keys, values)


@contextmanager
def attached(model: PreTrainedModel, adapter: KnowledgeAdapter) -> Iterator[AttachedDecoder]:
    decoder = attach(model, adapter)
    try:
        yield decoder
    finally:
        decoder.detach()
