"""Small tokenizers of the kinds that base models have, trained on a few lines."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Literal

from tiny_kblam import END, FACTS, make_tokenizer
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import GemmaTokenizer, LlamaTokenizer, PreTrainedTokenizerFast

# Every sign that tests write; each tokenizer knows them all.
SIGNS = [chr(code) for code in range(32, 127)] + [*"\néЖ中\u2019\u201c\u201d…"]
_LINES = [
    *(" ".join(fact) for fact in FACTS),
    *(f"The {name} of {entity} is {value}." for entity, name, value in FACTS),
    "The colour is forest green, slate grey (or black); is 48,200 euros Aurora's budget?",
    "".join(SIGNS),
]
_NAMES = ["<unk>", "<s>", END, "<pad>", "<mask>"]
_BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def _wrapped(tokenizer: Tokenizer, **names: str) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, **names)


def byte_level(*, spaced: bool = False) -> PreTrainedTokenizerFast:
    """As GPT-2's, SmolLM's, Qwen's and Llama 3's; ``spaced`` begins texts with a space."""
    return make_tokenizer(_LINES, size=400, spaced=spaced)


def metaspace(
    kind: Literal["bpe", "unigram"], scheme: Literal["always", "first", "never"]
) -> PreTrainedTokenizerFast:
    """As those that SentencePiece trained, in words of "▁" and letters."""
    alphabet = ["▁" if sign == " " else sign for sign in SIGNS]
    trainer: trainers.BpeTrainer | trainers.UnigramTrainer
    if kind == "bpe":
        tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
        trainer = trainers.BpeTrainer(
            vocab_size=350,
            special_tokens=_NAMES,
            initial_alphabet=alphabet,
            show_progress=False,
        )
    else:
        tokenizer = Tokenizer(models.Unigram())
        trainer = trainers.UnigramTrainer(
            vocab_size=250,
            special_tokens=_NAMES,
            unk_token="<unk>",
            initial_alphabet=alphabet,
            show_progress=False,
        )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme=scheme)
    tokenizer.train_from_iterator(_LINES, trainer)
    return _wrapped(tokenizer, unk_token="<unk>")


def _sentencepiece() -> dict[str, Any]:
    """A vocabulary with merges, and bytes for signs that it does not have."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=[*_NAMES, *_BYTES], show_progress=False
    )
    lines = [part for line in _LINES for part in line.split("\n")]
    tokenizer.train_from_iterator([re.sub("[Ж中]", "", line) for line in lines], trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return {"vocab": model["vocab"], "merges": [tuple(merge) for merge in model["merges"]]}


def llama(*, legacy: bool = False) -> LlamaTokenizer:
    """As Llama 2's, Mistral's and Phi-3's."""
    return LlamaTokenizer(**_sentencepiece(), eos_token=END, legacy=legacy)


def old_llama() -> PreTrainedTokenizerFast:
    """The same as older files have it: a normalizer writes the space that a text begins with."""
    parts = _sentencepiece()
    tokenizer = Tokenizer(models.BPE(**parts, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return _wrapped(tokenizer, unk_token="<unk>")


def gemma() -> GemmaTokenizer:
    """As Gemma's, which begins texts without a space."""
    return GemmaTokenizer(**_sentencepiece(), eos_token=END)


# By name, those that begin a text with a space of their own and those that do not.
SPACED: dict[str, Callable[[], Any]] = {
    "byte-level with a space": lambda: byte_level(spaced=True),
    "BPE, always": lambda: metaspace("bpe", "always"),
    "BPE, first": lambda: metaspace("bpe", "first"),
    "unigram, always": lambda: metaspace("unigram", "always"),
    "unigram, first": lambda: metaspace("unigram", "first"),
    "Llama": llama,
    "Llama, legacy": lambda: llama(legacy=True),
    "Llama, of old": old_llama,
}
PLAIN: dict[str, Callable[[], Any]] = {
    "byte-level": byte_level,
    "BPE, never": lambda: metaspace("bpe", "never"),
    "Gemma": gemma,
}
