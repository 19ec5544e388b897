"""A store's facts replaced by what was made of them, whoever else writes meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TypeVar

from kblam.errors import StoreChangedError
from kblam.knowledge import Fact, KnowledgeStore, SyncReport, TripleSource

__all__ = ["rewrite"]

_TRIES = 5

Made = TypeVar("Made", bound=TripleSource)


def rewrite(
    store: KnowledgeStore, make: Callable[[Iterator[Fact]], Made]
) -> tuple[Made, SyncReport]:
    """Make a store hold what is made of its facts; facts written meanwhile are made of as well.

    Args:
        store: Is changed in one transaction.
        make: Given all facts of the store. Called again where somebody wrote to it meanwhile.

    Returns:
        What was made last, and what became of the store.

    Raises:
        StoreChangedError: Somebody wrote to the store during every one of several tries. It
            holds what they wrote, and nothing of what was made.
    """
    for _ in range(_TRIES - 1):
        with suppress(StoreChangedError):
            return _rewritten(store, make)
    return _rewritten(store, make)


def _rewritten(
    store: KnowledgeStore, make: Callable[[Iterator[Fact]], Made]
) -> tuple[Made, SyncReport]:
    before = store.state()  # taken first: what is written while the facts are read is noticed
    made = make(store.triples())
    return made, store.sync(made, unchanged_since=before)
