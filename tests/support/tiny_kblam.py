"""A tiny decoder with an adapter, an encoder of words, and the files to load them from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple
from zlib import crc32

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from kblam import adapter as adapters
from kblam.config import KnowledgeConfig, SelectionConfig
from kblam.decoder import FactInput, KnowledgeAdapter, attach, attention_layout

FACTS = [
    ("Aurora", "launch code", "QX-7719"),
    ("Aurora", "project lead", "Mirela Osei"),
    ("Borealis", "project lead", "Tomas Lindqvist"),
    ("Borealis", "budget", "48200 euros"),
    ("Project Heron", "start date", "3 March 2031"),
    ("Project Heron", "office", "Ljubljana"),
]
END = "<end>"


class WordEncoder:
    """Embeds a text as the sum of its words' own directions, and remembers what it was given.

    Texts with words in common are alike, as they are to a sentence encoder.
    """

    def __init__(self, name: str = "words", dimension: int = 48) -> None:
        self.name = name
        self.dimension = dimension
        self.seen: list[str] = []

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        self.seen.extend(texts)
        rows = [self._row(text) for text in texts]
        return np.array(rows, dtype=np.float32).reshape(-1, self.dimension)

    def _row(self, text: str) -> np.ndarray:
        words = text.lower().replace("?", " ").replace(".", " ").split() or [""]
        row = sum(self._word(word) for word in words)
        return row / np.linalg.norm(row)

    def _word(self, word: str) -> np.ndarray:
        weight = 0.3 if word in ("the", "of", "what", "is", "a", "in") else 1.0
        return weight * np.random.default_rng(crc32(word.encode())).standard_normal(self.dimension)


def make_tokenizer(
    lines: Sequence[str] = tuple(" ".join(fact) for fact in FACTS),
    *,
    size: int = 300,
    spaced: bool = False,
) -> PreTrainedTokenizerFast:
    """Byte-level, so that every text has tokens; without a chat template.

    Args:
        lines: What it is trained on.
        size: Of its vocabulary.
        spaced: Whether it begins texts with a space.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=spaced)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(lines, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END)


def make_decoder(
    tokenizer: PreTrainedTokenizerFast, seed: int = 0, *, context: int = 192
) -> LlamaForCausalLM:
    """Random weights: it says nothing sensible, but always the same."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=context,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        tie_word_embeddings=False,
    )
    decoder = LlamaForCausalLM(config).eval().requires_grad_(False)
    # Single bytes of other scripts make no text that a person could read, or stop at.
    for token in range(len(tokenizer)):
        text = tokenizer.decode([token])
        if not (text.isascii() and text.isprintable() and token != tokenizer.eos_token_id):
            decoder.lm_head.weight[token] = 0.0
    return decoder


def make_knowledge_config(
    decoder: LlamaForCausalLM, encoder: WordEncoder, **changes: object
) -> KnowledgeConfig:
    layout = attention_layout(decoder)
    settings: dict[str, object] = {
        "encoder": encoder.name,
        "encoder_dimension": encoder.dimension,
        "knowledge_layers": (1, 2),
        "hidden_size": layout.hidden_size,
        "num_heads": layout.num_heads,
        "num_key_heads": layout.num_key_value_heads,
        "head_dim": layout.head_dim,
        "lora_rank": 2,
        "selection": SelectionConfig(layer=1, top_k=4, pools=2),
        "grounded": True,
        **changes,
    }
    return KnowledgeConfig(**settings)  # type: ignore[arg-type]


@torch.no_grad()
def make_adapter(
    decoder: LlamaForCausalLM,
    encoder: WordEncoder,
    *,
    copies: Literal["never", "after a colon"] = "never",
    **changes: object,
) -> KnowledgeAdapter:
    """Selection is dense retrieval; it never refuses unless a threshold of 0 makes it."""
    torch.manual_seed(1)
    config = make_knowledge_config(decoder, encoder, **changes)
    adapter = KnowledgeAdapter(config, attention_layout(decoder))
    for layer in adapter.config.knowledge_layers:
        adapter.layer(layer).value.weight.mul_(30.0)  # facts change what is said
    if adapter.refusal is not None:
        adapter.refusal.bias.fill_(-20.0)
    if adapter.pointer is not None:
        adapter.pointer.gate_bias.fill_(-20.0 if copies == "never" else 0.0)
        adapter.pointer.gate[0] = 0.0 if copies == "never" else 8.0
    return adapter


@torch.no_grad()
def answer_after_colons(decoder: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    """Set weights so that the decoder ends an answer wherever it is left alone.

    Layers add nothing; the first number of a token's embedding tells whether it is the colon
    at a prompt's end, where an adapter that copies "after a colon" opens its gate, and where
    nothing ends. So an answer is one value, copied, and the end.
    """
    for layer in decoder.model.layers:
        layer.self_attn.o_proj.weight.zero_()
        layer.mlp.down_proj.weight.zero_()
    embedding, head = decoder.model.embed_tokens.weight, decoder.lm_head.weight
    colon = tokenizer.encode(":", add_special_tokens=False)[-1]
    embedding.mul_(0.02)
    embedding[:, 0] = -1.0
    embedding[colon, 0] = 1.0
    head.mul_(0.02)
    head[tokenizer.eos_token_id, 0] = -5.0


@torch.no_grad()
def as_if_trained(adapter: KnowledgeAdapter) -> KnowledgeAdapter:
    """No parameter is where it started."""
    generator = torch.Generator().manual_seed(9)
    for parameter in adapter.parameters():
        if parameter.requires_grad:
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return adapter.eval()


@torch.no_grad()
def logits_with_facts(decoder: Any, adapter: KnowledgeAdapter, words: WordEncoder) -> Tensor:
    """What a decoder makes of some tokens, with facts to read."""
    facts = FactInput(
        torch.from_numpy(words.encode([f"the {p} of {e}" for e, p, _ in FACTS])),
        torch.from_numpy(words.encode([value for *_, value in FACTS])),
        encoder_query=torch.from_numpy(words.encode(["the budget of Borealis"])),
    )
    attached = attach(decoder, adapter)
    try:
        with attached.facts(facts):
            return decoder(torch.arange(5, 17)[None]).logits
    finally:
        attached.detach()


class Folders(NamedTuple):
    """Where a tiny model lies on disk."""

    base: Path
    adapter: Path


def save_tiny(
    folder: Path,
    encoder: WordEncoder,
    *,
    seed: int = 0,
    copies: Literal["never", "after a colon"] = "never",
    context: int = 192,
    **changes: object,
) -> Folders:
    """Write a tiny decoder, its tokenizer and an adapter."""
    tokenizer = make_tokenizer()
    decoder = make_decoder(tokenizer, seed, context=context)
    if copies == "after a colon":
        answer_after_colons(decoder, tokenizer)
    folders = Folders(folder / "base", folder / "adapter")
    decoder.save_pretrained(folders.base)
    tokenizer.save_pretrained(folders.base)
    adapter = make_adapter(decoder, encoder, copies=copies, **changes)
    adapters.save_pretrained(adapter, folders.adapter, decoder, base_model=str(folders.base))
    return folders
