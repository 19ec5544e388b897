"""Embedders and stores that the tests of the store share."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

import kblam.knowledge
from kblam.knowledge import KnowledgeStore

# What a single example takes says nothing where cores are shared.
settings.register_profile(
    "kblam",
    parent=settings.get_profile("repeatable"),
    deadline=None,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("kblam")


class HashEmbedder:
    """Embeds a text as the direction that its hash seeds, and remembers what it was given."""

    def __init__(self, name: str = "hash-8", dimension: int = 8) -> None:
        self.name = name
        self.dimension = dimension
        self.seen: list[str] = []

    def encode(self, texts: list[str]) -> np.ndarray:
        self.seen.extend(texts)
        vectors = [self.vector(text) for text in texts]
        return np.array(vectors, np.float32).reshape(-1, self.dimension)

    def vector(self, text: str) -> np.ndarray:
        seed = int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")
        vector = np.random.default_rng(seed).standard_normal(self.dimension)
        return vector / np.linalg.norm(vector)


# Imports kblam.knowledge without kblam itself, whose other parts would load torch first: a process
# starts in a fraction of a second, and fails if the store needs more than numpy.
ALONE = """
import sys, types
kblam = sys.modules["kblam"] = types.ModuleType("kblam")
kblam.__path__ = [sys.argv.pop(1)]
import kblam.knowledge
assert not {"torch", "transformers"} & sys.modules.keys()
"""


@pytest.fixture(scope="session")
def python() -> Callable[..., list[str]]:
    """Return the command that runs code which uses kblam.knowledge and nothing else."""
    package = str(Path(kblam.knowledge.__file__).parents[1])

    def command(code: str, *arguments: object) -> list[str]:
        return [sys.executable, "-c", ALONE + code, package, *map(str, arguments)]

    return command


@pytest.fixture
def embedder() -> HashEmbedder:
    return HashEmbedder()


@pytest.fixture
def new_embedder() -> Callable[..., HashEmbedder]:
    return HashEmbedder


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[KnowledgeStore]:
    path = ":memory:" if request.param == "memory" else tmp_path / "facts.db"
    with KnowledgeStore(path) as opened:
        yield opened
