"""Stores of small random vectors."""

from __future__ import annotations

import os
from collections.abc import Callable
from hashlib import blake2b

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from kblam.knowledge import KnowledgeStore

# What a single example takes says nothing where cores are shared. Building an index takes a while.
settings.register_profile(
    "index",
    parent=settings.get_profile("repeatable"),
    deadline=None,
    max_examples=15,
    suppress_health_check=list(HealthCheck),
)
os.environ.setdefault("OMP_NUM_THREADS", "1")

Fill = Callable[[KnowledgeStore, int], None]


class HashEmbedder:
    """Embeds a text as the direction that its hash seeds."""

    name = "hash-12"
    dimension = 12

    def encode(self, texts: list[str]) -> np.ndarray:
        return np.array([self.vector(text) for text in texts], np.float32).reshape(-1, 12)

    def vector(self, text: str) -> np.ndarray:
        seed = int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")
        vector = np.random.default_rng(seed).standard_normal(self.dimension)
        return vector / np.linalg.norm(vector)


@pytest.fixture(autouse=True)
def _profile() -> None:
    pytest.importorskip("faiss")


@pytest.fixture
def embedder() -> HashEmbedder:
    return HashEmbedder()


@pytest.fixture
def fill(embedder: HashEmbedder) -> Fill:
    """Return what adds so many facts to a store and embeds them."""

    def filled(store: KnowledgeStore, count: int) -> None:
        start = store.sequence  # names that were never given
        store.add((f"item {i}", "code", f"code {i}") for i in range(start, start + count))
        store.encode(embedder)

    return filled
