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
from torch.nn.utils.rnn import pad_sequence

from kblam.encoding._bert_layers import (
    Affine,
    Layer,
    from_training,
    in_format,
    layer_of,
    to_train,
)
from kblam.encoding.reader import EncoderLayer

__all__ = ["BertSentences", "Pooling"]

Pooling = Literal["mean", "cls"]

# Tokens computed at a time: enough for the matrix units, and few enough for the cache.
_TOKENS = 4096


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
        self._norm = Affine.of(embeddings.LayerNorm)
        self._layers = [layer_of(layer) for layer in model.encoder.layer]

    @property
    def dtype(self) -> torch.dtype:
        """What the layers compute in."""
        return self._layers[0].up.dtype

    def to(self, dtype: torch.dtype) -> BertSentences:
        """The same with layers that compute in another format; embedding and pooling stay."""
        other = copy.copy(self)
        other._layers = [in_format(layer, dtype) for layer in self._layers]
        return other

    @property
    def heads(self) -> int:
        """Of each layer's attention."""
        return self._heads

    @property
    def is_usual(self) -> bool:
        """Whether its layers are four times as wide inside, as :class:`EncoderLayer` is."""
        width = self._words.shape[1]
        return all(layer.up.parts.weight.shape[0] == 4 * width for layer in self._layers)

    def __len__(self) -> int:
        return len(self._layers)

    def last(self, count: int) -> list[EncoderLayer]:
        """Copies of the last layers, to be trained."""
        return [to_train(layer) for layer in self._layers[len(self._layers) - count :]]

    def read_by(self, layers: Sequence[EncoderLayer]) -> BertSentences:
        """The same with other layers in the place of as many last ones; all else is shared."""
        other = copy.copy(self)
        kept = self._layers[: len(self._layers) - len(layers)]
        device = self._words.device
        trained = [in_format(from_training(layer, device), self.dtype) for layer in layers]
        other._layers = [*kept, *trained]
        return other

    @torch.no_grad()
    def before_last(self, texts: Sequence[str], count: int) -> tuple[Tensor, Tensor]:
        """What the last layers are given of N texts.

        Args:
            texts: N texts.
            count: How many layers are left to be computed.

        Returns:
            States (N, T, D) float32, padded, and which of them are tokens, (N, T).
        """
        encoded, order = self._tokenized(texts)
        kept = self._layers[: len(self._layers) - count]
        longest_first = [encoded[place] for place in order]
        states = self._compute(self._begin(longest_first), _runs(longest_first), kept)
        lengths = torch.tensor([len(tokens) for tokens in encoded], device=states.device)
        rows: list[Tensor] = [states] * len(encoded)
        parts = torch.split(states.float(), lengths[order].tolist())
        for place, part in zip(order, parts, strict=True):
            rows[place] = part
        padded = pad_sequence(rows, batch_first=True)
        return padded, torch.arange(padded.shape[1], device=states.device) < lengths[:, None]

    @torch.inference_mode()
    def beside(
        self, other: BertSentences, texts: Sequence[str], others: Sequence[str]
    ) -> tuple[Tensor, Tensor]:
        """Embed a few texts, and a few by an encoder that has the same first layers, at once.

        Args:
            other: Of :meth:`read_by`.
            texts: N texts.
            others: M texts that it embeds.

        Returns:
            (N, D) and (M, D) float32, rows of unit length, on the CPU.
        """
        pairs = zip(self._layers, other._layers, strict=True)
        shared = next((i for i, (one, two) in enumerate(pairs) if one is not two), len(self))
        (own, order), (theirs, their_order) = self._tokenized(texts), self._tokenized(others)
        encoded = [own[place] for place in order] + [theirs[place] for place in their_order]
        runs = _runs(encoded[: len(own)]), _runs(encoded[len(own) :])
        cut = sum(map(len, own))
        after = [run._replace(start=run.start + cut) for run in runs[1]]
        states = self._compute(self._begin(encoded), [*runs[0], *after], self._layers[:shared])
        found = (
            self._compute(states[:cut], runs[0], self._layers[shared:]),
            self._compute(states[cut:], runs[1], other._layers[shared:]),
        )
        vectors = [self._finish(part, run).cpu() for part, run in zip(found, runs, strict=True)]
        return _in_order(vectors[0], order), _in_order(vectors[1], their_order)

    def _tokenized(self, texts: Sequence[str]) -> tuple[list[list[int]], list[int]]:
        """The tokens of texts, and the texts' places from the longest to the shortest."""
        if len(texts) == 1:
            encoded = [self._tokenizer.encode(texts[0]).ids]
        else:
            encoded = [found.ids for found in self._tokenizer.encode_batch_fast(list(texts))]
        places = range(len(encoded))
        return encoded, sorted(places, key=lambda place: len(encoded[place]), reverse=True)

    @torch.inference_mode()
    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Embed N texts: (N, D) float32, rows of unit length, on the CPU."""
        encoded, order = self._tokenized(texts)
        parts = [self._embed([encoded[place] for place in part]) for part in _parts(order, encoded)]
        return _in_order(torch.cat(parts).cpu(), order)

    def _embed(self, encoded: Sequence[Sequence[int]]) -> Tensor:
        """Embed tokenized texts, longest first: (N, D) float32."""
        runs = _runs(encoded)
        return self._finish(self._compute(self._begin(encoded), runs, self._layers), runs)

    def _begin(self, encoded: Sequence[Sequence[int]]) -> Tensor:
        """What the first layer is given of tokenized texts, (T, D)."""
        tokens = torch.tensor([t for text in encoded for t in text], device=self._words.device)
        places = torch.cat([self._places[: len(text)] for text in encoded])
        states = F.embedding(tokens, self._words) + places
        return self._normed(states, self._norm).to(self.dtype)

    def _finish(self, states: Tensor, runs: Sequence[_Run]) -> Tensor:
        """Pool what the last layer makes: (N, D) float32."""
        return F.normalize(torch.cat([self._pool(states, run) for run in runs]), dim=1)

    def _compute(self, states: Tensor, runs: Sequence[_Run], layers: Sequence[Layer]) -> Tensor:
        """Run layers on texts that lie as told, (T, D)."""
        for layer in layers:
            mixed = self._attend(layer.qkv(states), runs)
            states = self._normed(states + layer.mixed(mixed), layer.mixed_norm)
            made = layer.down(F.gelu(layer.up(states)))
            states = self._normed(states + made, layer.norm)
        return states

    def _normed(self, states: Tensor, norm: Affine) -> Tensor:
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


def _runs(encoded: Sequence[Sequence[int]]) -> list[_Run]:
    """Where texts of equal length lie, one after the other."""
    runs: list[_Run] = []
    for length, group in groupby(map(len, encoded)):
        start = runs[-1].rows.stop if runs else 0
        runs.append(_Run(start, sum(1 for _ in group), length))
    return runs


def _in_order(vectors: Tensor, order: Sequence[int]) -> Tensor:
    """Rows that lie in an order of places, each at its place."""
    rows = torch.empty_like(vectors)
    rows[order] = vectors
    return rows


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
