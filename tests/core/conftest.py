"""Tiny models that answer from a few facts, one that rambles and one that copies."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tiny_kblam import FACTS, Folders, WordEncoder, save_tiny

from kblam.knowledge import KnowledgeStore
from kblam.model import KBLaM


@pytest.fixture(scope="session")
def session_encoder() -> WordEncoder:
    """One for all tests of a worker: weights are shared by those who share an encoder."""
    return WordEncoder()


@pytest.fixture
def encoder(session_encoder: WordEncoder) -> WordEncoder:
    """Empty of memories."""
    session_encoder.seen.clear()
    return session_encoder


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory, session_encoder: WordEncoder) -> Folders:
    """A decoder of random weights, whose adapter never copies."""
    return save_tiny(tmp_path_factory.mktemp("rambling"), session_encoder)


@pytest.fixture(scope="session")
def copying_folders(
    tmp_path_factory: pytest.TempPathFactory, session_encoder: WordEncoder
) -> Folders:
    """A decoder whose answer is the value of the fact asked for, and nothing else."""
    folder = tmp_path_factory.mktemp("copying")
    return save_tiny(folder, session_encoder, copies="after a colon")


@pytest.fixture(scope="session")
def weights(
    folders: Folders, copying_folders: Folders, session_encoder: WordEncoder
) -> dict[str, KBLaM]:
    """Kept in memory, so that every model of these tests shares them."""
    return {
        name: KBLaM.from_pretrained(pair.base, adapter=pair.adapter, encoder=session_encoder)
        for name, pair in (("rambling", folders), ("copying", copying_folders))
    }


@pytest.fixture
def load(
    weights: dict[str, KBLaM], folders: Folders, copying_folders: Folders, encoder: WordEncoder
) -> Callable[..., KBLaM]:
    """Makes a model of its own, over weights in memory."""

    def load(kind: str = "rambling", **settings: object) -> KBLaM:
        pair = folders if kind == "rambling" else copying_folders
        return KBLaM.from_pretrained(pair.base, adapter=pair.adapter, encoder=encoder, **settings)

    return load


@pytest.fixture
def store() -> KnowledgeStore:
    with KnowledgeStore.from_source(FACTS) as store:
        yield store


@pytest.fixture
def rambling(load: Callable[..., KBLaM], store: KnowledgeStore) -> KBLaM:
    return load("rambling").attach(store)


@pytest.fixture
def copying(load: Callable[..., KBLaM], store: KnowledgeStore) -> KBLaM:
    return load("copying").attach(store)
