"""How a sentence-transformers model is run: by the shortest way that gives the same vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from kblam._processor import cpu_capabilities
from kblam.encoding._bert import BertSentences, Pooling
from kblam.errors import ConfigError

__all__ = ["Padded", "Precision", "Sentences", "fast_bfloat16", "sentences"]

Precision = Literal["auto", "float32", "bfloat16"]
Sentences = Callable[[Sequence[str]], Tensor]  # N texts to (N, D) float32 on the CPU

# Tokens at a time, where the model pads.
_PADDED_TOKENS = 16_384
# Compared before a shorter way is taken.
_PROBES = ("?", "the capital of Slovenia", "Who wrote Middlemarch, and when was it published?")
_POOLINGS: tuple[Pooling, ...] = ("mean", "cls")
_SAME = 1e-5
_CLOSE = 0.9995


def fast_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is wanted unasked: on CPUs that multiply it, which doubles their speed."""
    if device.type != "cpu":
        return False
    found = cpu_capabilities()
    return bool(found.get("amx_bf16") or found.get("avx512_bf16"))


def sentences(model: Any, precision: Precision, batch_size: int) -> Sentences:
    """Find how to run a model.

    Args:
        model: A ``SentenceTransformer``.
        precision: "auto" is bfloat16 where the CPU multiplies it, the model is a BERT, and the
            vectors stay close; else float32.
        batch_size: Texts at a time where sentence-transformers runs the model.

    Raises:
        ConfigError: There is no such precision.
    """
    if precision not in ("auto", "float32", "bfloat16"):
        raise ConfigError(
            f"Expected 'auto', 'float32' or 'bfloat16' as precision, got {precision!r}."
        )
    _let_pad(model)
    padded = Padded(model, batch_size)
    expected = padded(_PROBES)
    direct = _direct(model, expected)
    if direct is None:
        if precision == "bfloat16":
            model.to(torch.bfloat16)
        return padded
    if precision == "bfloat16" or (precision == "auto" and fast_bfloat16(model.device)):
        half = direct.to(torch.bfloat16)
        if precision == "bfloat16" or (half(_PROBES) * expected).sum(1).min() > _CLOSE:
            return half
    return direct


def _let_pad(model: Any) -> None:
    """Let a model pad that has no token for it, as decoders have none; any does, being masked."""
    tokenizer = model.tokenizer
    if getattr(tokenizer, "pad_token", "") is None and tokenizer.eos_token is not None:
        tokenizer.pad_token = tokenizer.eos_token


def _direct(model: Any, expected: Tensor) -> BertSentences | None:
    """Run a model without sentence-transformers, if it is of a form for which that is the same.

    Args:
        model: A ``SentenceTransformer``.
        expected: Its vectors of the probes, (P, D).
    """
    # On a GPU many short runs are not known to be faster than padding.
    if model.device.type != "cpu":
        return None
    form = [type(module).__name__ for module in model]
    if form not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        return None
    bert, tokenizer, longest = model[0].auto_model, model.tokenizer, model.max_seq_length
    if (
        type(bert).__name__ != "BertModel"
        or bert.config.hidden_act != "gelu"
        or not getattr(tokenizer, "is_fast", False)
        or not longest
        or longest > bert.config.max_position_embeddings
    ):
        return None
    # How tokens are pooled is told differently by each release, like all that can be set beside
    # it (prompts, a shorter vector): what counts is that the vectors are the same.
    for pooling in _POOLINGS:
        found = BertSentences(bert, tokenizer, longest, pooling=pooling)
        vectors = found(_PROBES)
        if vectors.shape == expected.shape and torch.allclose(vectors, expected, 0.0, _SAME):
            return found
    return None


class Padded:
    """Any model, as sentence-transformers runs it: texts in batches, padded to the longest.

    Args:
        model: A ``SentenceTransformer``.
        batch_size: Texts at a time; fewer if they are long.
    """

    def __init__(self, model: Any, batch_size: int) -> None:
        self._model = model
        self._batch_size = batch_size

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Embed N texts: (N, D) float32, rows of unit length, on the CPU."""
        # Most tokens are longer than a character; a few are added to each text.
        longest = max(map(len, texts)) + 2
        longest = min(longest, self._model.max_seq_length or longest)
        vectors: Tensor = self._model.encode(
            list(texts),
            batch_size=max(1, min(self._batch_size, _PADDED_TOKENS // longest)),
            convert_to_tensor=True,
            show_progress_bar=False,
        )
        return F.normalize(vectors.float(), dim=1).cpu()
