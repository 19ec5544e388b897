"""The retrievers that KBLaM is compared with: dense by the same encoder, and BM25."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from kblam.errors import require
from kblam.evaluation.config import RetrievalText
from kblam.knowledge import TextEmbedder, Triple

__all__ = ["BM25Retriever", "DenseRetriever", "Retriever"]

_BATCH = 1024

_TEXTS: dict[RetrievalText, Callable[[Triple], str]] = {
    "key": lambda fact: fact.key_text,
    "statement": lambda fact: fact.statement,
    "plain": lambda fact: f"{fact.entity_text} {fact.property_text} {fact.value_text}",
}


class Retriever(Protocol):
    """Finds the facts nearest to a question."""

    def search(self, question: str, k: int) -> list[Triple]:
        """The best `k` facts, best first."""
        ...


class DenseRetriever:
    """Nearest neighbours of the question's embedding, by an exact scan.

    Args:
        facts: The facts to search.
        embedder: Embeds facts and questions alike, as unit-length rows.
        text: Which text of a fact is embedded.
    """

    def __init__(
        self, facts: Sequence[Triple], embedder: TextEmbedder, *, text: RetrievalText = "key"
    ) -> None:
        self._facts = list(facts)
        self._embedder = embedder
        texts = [_TEXTS[text](fact) for fact in self._facts]
        rows = [embedder.encode(texts[i : i + _BATCH]) for i in range(0, len(texts), _BATCH)]
        # (M, E)
        self._matrix = (
            np.concatenate(rows) if rows else np.zeros((0, embedder.dimension), np.float32)
        )

    def search(self, question: str, k: int) -> list[Triple]:
        """The `k` facts of highest cosine, best first; fewer where there are fewer."""
        scores = self._matrix @ self._embedder.encode([question])[0]  # (M,)
        k = min(k, len(self._facts))
        # A partition finds the best k without sorting all M.
        best = np.argpartition(-scores, k - 1)[:k] if k < len(self._facts) else np.arange(k)
        best = best[np.argsort(-scores[best], kind="stable")]
        return [self._facts[i] for i in best]


class BM25Retriever:
    """BM25 over the facts' words, by the library bm25s (Lucene's variant, English stop words).

    Facts of which no word counts ("the of A is it") are never found.

    Args:
        facts: The facts to search.
        text: Which text of a fact is indexed.

    Raises:
        MissingExtraError: bm25s is not installed.
    """

    def __init__(self, facts: Sequence[Triple], *, text: RetrievalText = "key") -> None:
        self._facts = list(facts)
        self._bm25s: Any = require("bm25s", extra="evaluate")
        self._index = self._bm25s.BM25()
        corpus = self._tokenize([_TEXTS[text](fact) for fact in self._facts])
        self._has_words = any(corpus)  # bm25s fails on a corpus without any
        if self._has_words:
            self._index.index(corpus, show_progress=False)

    def _tokenize(self, texts: list[str]) -> list[list[str]]:
        tokens: list[list[str]] = self._bm25s.tokenize(
            texts, stopwords="en", return_ids=False, show_progress=False
        )
        return tokens

    def search(self, question: str, k: int) -> list[Triple]:
        """The `k` facts of highest score, best first; fewer where there are fewer."""
        tokens = self._tokenize([question])
        k = min(k, len(self._facts))
        if not self._has_words:
            return []
        rows, _ = self._index.retrieve(tokens, k=k, show_progress=False)
        return [self._facts[int(i)] for i in rows[0]]
