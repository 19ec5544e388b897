"""A BERT encoder for sentences without padding: one text or many, the same few operations.

Most sentence encoders are BERT. Its weights are taken from a loaded ``BertModel``; what is left
out is what costs time around them: masks, padding, and layers of Python around each operation.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import groupby
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["BertSentences", "Pooling"]

Pooling = Literal["mean", "cls"]

# Tokens computed at a time: enough for the matrix units, and few enough for the cache.
_TOKENS = 4096
# Tokens of a question, or two.
_TYPICAL = 32


class _Affine(NamedTuple):
    """A weight and a bias."""

    weight: Tensor
    bias: Tensor

    @classmethod
    def of(cls, module: Any) -> _Affine:
        return cls(module.weight.detach().float(), module.bias.detach().float())

    def to(self, dtype: torch.dtype) -> _Affine:
        return _Affine(self.weight.to(dtype), self.bias.to(dtype))


class _Linear:
    """A weight and a bias that are multiplied by.

    In bfloat16 on a CPU the weight is packed once, as its matrix units read it. ``F.linear`` packs
    it for every product, which takes a few tokens' texts as long as the product itself.
    """

    def __init__(self, parts: _Affine) -> None:
        self.dtype = parts.weight.dtype
        self._parts = parts
        self._packed = _packed(parts)

    def to(self, dtype: torch.dtype) -> _Linear:
        return _Linear(self._parts.to(dtype))

    def __call__(self, states: Tensor) -> Tensor:
        if self._packed is None:
            return F.linear(states, *self._parts)
        found: Tensor = torch.ops.mkldnn._linear_pointwise(
            states, self._packed, self._parts.bias, "none", [], ""
        )
        return found


def _packed(parts: _Affine) -> Tensor | None:
    """A weight for PyTorch's own product of packed ones, None where there is none."""
    weight, bias = parts
    if weight.dtype != torch.bfloat16 or weight.device.type != "cpu":
        return None
    probe = torch.ones(1, weight.shape[1], dtype=weight.dtype)
    try:
        packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), _TYPICAL)
        found = torch.ops.mkldnn._linear_pointwise(probe, packed, bias, "none", [], "")
    except (AttributeError, RuntimeError, TypeError):  # not in this build of PyTorch
        return None
    return packed if torch.equal(found, F.linear(probe, weight, bias)) else None


class _Layer(NamedTuple):
    qkv: _Linear
    mixed: _Linear
    mixed_norm: _Affine
    up: _Linear
    down: _Linear
    norm: _Affine


class _Run(NamedTuple):
    """Texts of equal length, one after the other.

    Attributes:
        start: Where their tokens begin.
        texts: How many texts.
        length: Tokens of each.
    """

    start: int
    texts: int
    length: int

    @property
    def rows(self) -> slice:
        return slice(self.start, self.start + self.texts * self.length)


class BertSentences:
    """Texts to vectors, by a BERT whose tokens are pooled.

    The tokens of all texts lie one after the other, without padding: everything but attention works
    on them as they are, and attention on each run of texts of equal length, which needs no mask.

    Args:
        model: A ``BertModel``, on its device.
        tokenizer: Its fast tokenizer.
        max_length: Tokens to which a text is cut.
        pooling: "mean" of the tokens, or the first one's.
    """

    def __init__(self, model: Any, tokenizer: Any, max_length: int, *, pooling: Pooling) -> None:
        # A copy: the original's truncation and padding are set anew by each of its calls.
        self._tokenizer = copy.deepcopy(tokenizer.backend_tokenizer)
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_length)
        self._pooling = pooling
        self._heads: int = model.config.num_attention_heads
        self._eps: float = model.config.layer_norm_eps
        embeddings = model.embeddings
        self._words = embeddings.word_embeddings.weight.detach().float()
        # All tokens of a lone text are of the first type.
        kind = embeddings.token_type_embeddings.weight[0]
        self._places = (embeddings.position_embeddings.weight + kind).detach().float()
        self._norm = _Affine.of(embeddings.LayerNorm)
        self._layers = [_layer(layer) for layer in model.encoder.layer]

    @property
    def dtype(self) -> torch.dtype:
        """What the layers compute in."""
        return self._layers[0].up.dtype

    def to(self, dtype: torch.dtype) -> BertSentences:
        """The same with layers that compute in another format; embedding and pooling stay."""
        other = copy.copy(self)
        other._layers = [_in_format(layer, dtype) for layer in self._layers]
        return other

    @torch.inference_mode()
    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Embed N texts: (N, D) float32, rows of unit length, on the CPU."""
        if len(texts) == 1:
            encoded = [self._tokenizer.encode(texts[0]).ids]
        else:
            encoded = [found.ids for found in self._tokenizer.encode_batch_fast(list(texts))]
        order = sorted(range(len(encoded)), key=lambda place: len(encoded[place]), reverse=True)
        parts = [self._embed([encoded[place] for place in part]) for part in _parts(order, encoded)]
        vectors = torch.cat(parts).cpu()
        rows = torch.empty_like(vectors)
        rows[order] = vectors
        return rows

    def _embed(self, encoded: Sequence[Sequence[int]]) -> Tensor:
        """Embed tokenized texts, longest first: (N, D) float32."""
        device = self._words.device
        runs: list[_Run] = []
        places: list[Tensor] = []
        for length, group in groupby(map(len, encoded)):
            start = runs[-1].rows.stop if runs else 0
            runs.append(_Run(start, sum(1 for _ in group), length))
            places.append(self._places[:length].repeat(runs[-1].texts, 1))
        tokens = torch.tensor([token for text in encoded for token in text], device=device)
        states = F.embedding(tokens, self._words) + torch.cat(places)
        states = self._normed(states, self._norm).to(self.dtype)
        for layer in self._layers:
            mixed = self._attend(layer.qkv(states), runs)
            states = self._normed(states + layer.mixed(mixed), layer.mixed_norm)
            made = layer.down(F.gelu(layer.up(states)))
            states = self._normed(states + made, layer.norm)
        return F.normalize(torch.cat([self._pool(states, run) for run in runs]), dim=1)

    def _normed(self, states: Tensor, norm: _Affine) -> Tensor:
        return F.layer_norm(states, states.shape[-1:], *norm, self._eps)

    def _attend(self, qkv: Tensor, runs: Sequence[_Run]) -> Tensor:
        """Attention of each text's tokens to each other: (T, 3 D) to (T, D)."""
        width = qkv.shape[1] // 3
        parts = []
        for run in runs:
            shape = (run.texts, run.length, 3, self._heads, width // self._heads)
            query, key, value = qkv[run.rows].view(shape).permute(2, 0, 3, 1, 4)
            mixed = F.scaled_dot_product_attention(query, key, value)
            parts.append(mixed.transpose(1, 2).reshape(-1, width))
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _pool(self, states: Tensor, run: _Run) -> Tensor:
        texts = states[run.rows].view(run.texts, run.length, -1)
        if self._pooling == "cls":
            return texts[:, 0].float()
        return texts.float().mean(1)


def _parts(order: Sequence[int], encoded: Sequence[Sequence[int]]) -> list[list[int]]:
    """Cut texts into parts of at most so many tokens, each of one text at least."""
    parts: list[list[int]] = []
    room = 0
    for place in order:
        room -= len(encoded[place])
        if room < 0:
            parts.append([])
            room = _TOKENS - len(encoded[place])
        parts[-1].append(place)
    return parts


def _in_format(layer: _Layer, dtype: torch.dtype) -> _Layer:
    parts: Any = (part.to(dtype) for part in layer)
    return _Layer(*parts)


def _layer(layer: Any) -> _Layer:
    attention, made = layer.attention.self, layer.attention.output
    parts = [_Affine.of(part) for part in (attention.query, attention.key, attention.value)]
    return _Layer(
        qkv=_Linear(
            _Affine(
                torch.cat([part.weight for part in parts]),
                torch.cat([part.bias for part in parts]),
            )
        ),
        mixed=_Linear(_Affine.of(made.dense)),
        mixed_norm=_Affine.of(made.LayerNorm),
        up=_Linear(_Affine.of(layer.intermediate.dense)),
        down=_Linear(_Affine.of(layer.output.dense)),
        norm=_Affine.of(layer.output.LayerNorm),
    )
