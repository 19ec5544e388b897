"""Sentence encoders: texts in, unit vectors out."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kblam._digest import weights_digest
from kblam._quiet import quiet_loading
from kblam.encoding._bert import BertSentences
from kblam.encoding._sentences import Precision, Sentences, sentences
from kblam.encoding.reader import QuestionReader
from kblam.errors import ConfigError
from kblam.knowledge.protocols import TextEmbedder
from kblam.weights import DEFAULT_ENCODER, resolve_encoder

__all__ = [
    "CachedEmbedder",
    "LangChainEmbedder",
    "LlamaIndexEmbedder",
    "SentenceEncoder",
    "TrainedEncoder",
    "as_embedder",
]

Vectors = NDArray[np.float32]


class CachedEmbedder:
    """Embeds texts that come again and again: caches, sorts by length, returns unit rows."""

    name: str
    dimension: int

    def __init__(self, cache_size: int, batch_size: int) -> None:
        self._cache: OrderedDict[str, Vectors] = OrderedDict()
        self._cache_size = cache_size
        self._batch_size = batch_size
        self._lock = threading.Lock()

    def _embed(self, texts: list[str]) -> Vectors:
        raise NotImplementedError

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Embed texts.

        Args:
            texts: N texts.

        Returns:
            (N, E) float32, rows of unit length.

        Raises:
            ConfigError: Something else than texts came.
        """
        if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
            raise ConfigError(
                "Expected a sequence of texts to embed. Wrap a single text in a list."
            )
        with self._lock:
            rows = {text: self._cache[text] for text in texts if text in self._cache}
            for text in rows:
                self._cache.move_to_end(text)  # what is asked for again and again stays longest
            # Longest first: batches of like lengths waste no padding, and the largest
            # batch comes when memory is emptiest. In an order that is the same in each process.
            missing = [text for text in dict.fromkeys(texts) if text not in rows]
            missing.sort(key=len, reverse=True)
            for start in range(0, len(missing), self._batch_size):
                batch = missing[start : start + self._batch_size]
                rows.update(zip(batch, _unit(self._embed(batch)), strict=True))
            for text in missing[-self._cache_size :]:
                self._cache[text] = rows[text]
            while len(self._cache) > self._cache_size:
                self._cache.popitem(last=False)
        if not texts:
            return np.zeros((0, self.dimension), dtype=np.float32)
        return np.stack([rows[text] for text in texts])

    def remember(self, texts: Sequence[str], vectors: Vectors) -> None:
        """Keep what was embedded elsewhere.

        Args:
            texts: N texts.
            vectors: As :meth:`encode` gives them, (N, E).
        """
        with self._lock:
            self._cache.update(zip(texts, vectors, strict=True))
            while len(self._cache) > self._cache_size:
                self._cache.popitem(last=False)

    def unknown(self, texts: Sequence[str]) -> list[str]:
        """Those of some texts that are not cached, once each, without empty ones."""
        with self._lock:
            return [text for text in dict.fromkeys(texts) if text and text not in self._cache]

    def forget(self) -> None:
        """Drop what is cached: the next vectors of all texts are computed."""
        with self._lock:
            self._cache.clear()


def _unit(vectors: Vectors) -> Vectors:
    vectors = np.asarray(vectors, dtype=np.float32)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Vectors = vectors / np.maximum(norms, 1e-12)
    return unit


class _BySentences(CachedEmbedder):
    _sentences: Sentences

    def _embed(self, texts: list[str]) -> Vectors:
        vectors: Vectors = self._sentences(texts).numpy()
        return vectors


class SentenceEncoder(_BySentences):
    """A sentence-transformers model.

    Models that are a BERT with pooled tokens, as most are, run without the layers of Python around
    them, in which a single question would spend half of its time; all others run as
    sentence-transformers runs them.

    Args:
        name: A folder or a name on the hub.
        device: Where it runs; None is the CPU.
        batch_size: Texts prepared at a time; they are computed in parts, smaller if they are long.
        cache_size: Texts whose vectors are kept.
        precision: What it computes in. "auto" is bfloat16 for a BERT on a CPU that multiplies it
            (AMX, AVX-512 BF16), float32 everywhere else. Vectors are float32 in any case.

    Raises:
        ConfigError: There is no such precision, or the model does not tell its dimension.
        WeightsNotFoundError: The model is nowhere to be found.
    """

    def __init__(
        self,
        name: str | Path = DEFAULT_ENCODER,
        *,
        device: str | torch.device | None = None,
        batch_size: int = 1024,
        cache_size: int = 4096,
        precision: Precision = "auto",
    ) -> None:
        super().__init__(cache_size, batch_size)
        self._path = resolve_encoder(name).path
        model = _opened(self._path, str(device or "cpu"))
        self.name = str(name).rstrip("/").rsplit("/", 1)[-1]
        dimension = model.get_embedding_dimension()
        if dimension is None:
            raise ConfigError(f"The encoder {name!r} does not tell its dimension. Use another one.")
        self.dimension = int(dimension)
        self._sentences = sentences(model, precision, batch_size)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the weights and of how they are used: under one name there may be others.

        They are read again for it, which takes as long as the first time.
        """
        model = _opened(self._path, "cpu")
        return weights_digest(model, before=repr(model))

    @property
    def layers(self) -> BertSentences | None:
        """The encoder as layers that can be run one by one, if it is run so."""
        return self._sentences if isinstance(self._sentences, BertSentences) else None


class TrainedEncoder(_BySentences):
    """An encoder whose last layers are others, for questions alone.

    Args:
        encoder: Whose first layers and tokenizer are used.
        reader: The last layers.
        batch_size: Texts prepared at a time.
        cache_size: Texts whose vectors are kept.

    Raises:
        ConfigError: The encoder is not run layer by layer.
    """

    def __init__(
        self,
        encoder: SentenceEncoder,
        reader: QuestionReader,
        *,
        batch_size: int = 1024,
        cache_size: int = 4096,
    ) -> None:
        super().__init__(cache_size, batch_size)
        if encoder.layers is None:
            raise ConfigError(
                f"Expected an encoder that is a BERT on the CPU, to read questions by layers of "
                f"its own, got {encoder.name!r}, which is run as a whole."
            )
        self.name = encoder.name
        self.dimension = encoder.dimension
        self.encoder = encoder
        self._below = encoder.layers
        self._sentences: BertSentences = encoder.layers.read_by(reader.parts())

    def encode_beside(self, texts: Sequence[str], of_encoder: Sequence[str]) -> None:
        """Embed a few texts by this and a few by the encoder below at once; both remember them.

        The first layers, which both share, are run once for all, and a few texts take hardly
        longer than one.
        """
        own, below = self.unknown(texts), self.encoder.unknown(of_encoder)
        if own and below:
            vectors, read = self._below.beside(self._sentences, below, own)
            self.encoder.remember(below, _unit(vectors.numpy()))
            self.remember(own, _unit(read.numpy()))


def _opened(path: str, device: str) -> Any:
    from sentence_transformers import SentenceTransformer

    with quiet_loading():
        model = SentenceTransformer(path, device=device)
    return model.requires_grad_(False)


class _ForeignEmbedder(CachedEmbedder):
    def __init__(
        self, embed: Callable[[list[str]], Any], name: str, *, batch_size: int, cache_size: int
    ) -> None:
        super().__init__(cache_size, batch_size)
        self._call = embed
        self.name = name
        self.dimension = int(_unit(embed(["dimension"])).shape[1])

    def _embed(self, texts: list[str]) -> Vectors:
        return np.asarray(self._call(texts), dtype=np.float32)


class LangChainEmbedder(_ForeignEmbedder):
    """A LangChain ``Embeddings`` object (anything with ``embed_documents``).

    Args:
        embeddings: The object.
        name: Identifies the encoder in stores and adapters.
        batch_size: Texts at a time.
        cache_size: Texts whose vectors are kept.
    """

    def __init__(
        self, embeddings: Any, name: str, *, batch_size: int = 64, cache_size: int = 4096
    ) -> None:
        super().__init__(
            embeddings.embed_documents, name, batch_size=batch_size, cache_size=cache_size
        )


class LlamaIndexEmbedder(_ForeignEmbedder):
    """A LlamaIndex ``BaseEmbedding`` (anything with ``get_text_embedding_batch``).

    Args:
        embed_model: The object.
        name: Identifies the encoder in stores and adapters.
        batch_size: Texts at a time.
        cache_size: Texts whose vectors are kept.
    """

    def __init__(
        self, embed_model: Any, name: str, *, batch_size: int = 64, cache_size: int = 4096
    ) -> None:
        super().__init__(
            embed_model.get_text_embedding_batch, name, batch_size=batch_size, cache_size=cache_size
        )


def as_embedder(encoder: str | Path | TextEmbedder | Any | None = None) -> TextEmbedder:
    """Make an embedder of a name, a folder, or another framework's embedding object.

    Raises:
        ConfigError: The object is none of those.
        WeightsNotFoundError: The name is nowhere to be found.
    """
    if encoder is None:
        return SentenceEncoder()
    if isinstance(encoder, (str, Path)):
        return SentenceEncoder(encoder)
    if all(hasattr(encoder, name) for name in ("name", "dimension", "encode")):
        return encoder
    label = str(
        getattr(encoder, "model_name", None)
        or getattr(encoder, "model", None)
        or hashlib.sha256(type(encoder).__qualname__.encode()).hexdigest()[:12]
    )
    if hasattr(encoder, "embed_documents"):
        return LangChainEmbedder(encoder, label)
    if hasattr(encoder, "get_text_embedding_batch"):
        return LlamaIndexEmbedder(encoder, label)
    raise ConfigError(
        "Expected an encoder's name or folder, a TextEmbedder (name, dimension, encode), a "
        "LangChain Embeddings or a LlamaIndex BaseEmbedding, got "
        f"{type(encoder).__module__}.{type(encoder).__qualname__}."
    )
