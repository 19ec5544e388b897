"""Asking a source, whatever it raises."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from kblam.errors import FactError, KBLaMError, SourceError, without_credentials
from kblam.knowledge.protocols import (
    JournaledSource,
    SourceChanges,
    TripleSource,
    VersionedSource,
)
from kblam.knowledge.triple import Triple, as_triple

__all__ = ["changes_of", "expect_empty", "expect_named", "reading", "state_of", "triples_of"]


@contextmanager
def reading(source: object) -> Iterator[None]:
    """Raise what a source raises as an error of this library.

    Raises:
        SourceError: The block raised an error that is not of this library.
    """
    try:
        yield
    except KBLaMError:
        raise
    except Exception as error:  # whatever the packages and servers behind it have
        raise _source_error(source, error) from error


def _source_error(source: object, error: Exception) -> SourceError:
    """Return the error for a source that could not be read.

    Args:
        source: Only its type is named: its address may hold a password.
        error: What it raised.
    """
    said = without_credentials(f"{type(error).__name__}: {error}")
    return SourceError(
        f"A source of facts ({type(source).__name__}) could not be read: {said:.500}. The store is "
        "as it was. See that the source is there and reachable, then try again."
    )


def triples_of(source: TripleSource) -> Iterator[Triple]:
    """Read every triple of a source.

    Raises:
        SourceError: It could not be read.
        FactError: It gave something that is no fact.
    """
    with reading(source):
        for triple in source.triples():
            given: object = triple
            # A source written by hand may give tuples.
            yield triple if isinstance(given, Triple) else as_triple(triple)


def state_of(source: TripleSource) -> Hashable:
    """Return a source's state, None if it has none to tell.

    Raises:
        SourceError: It could not be asked.
    """
    if not isinstance(source, VersionedSource):
        return None
    with reading(source):
        return source.state()


def changes_of(source: JournaledSource, since: Hashable) -> SourceChanges | None:
    """Return what changed in a source after a state, None where it does not say.

    Raises:
        SourceError: It could not be asked.
        FactError: It gave something that is no fact, or does not name it.
    """
    with reading(source):
        changes = source.changes(since)
        if changes is None:
            return None
        changed = [as_triple(item) for item in changes.changed]
        expect_named(source, sum(triple.id is None for triple in changed))
        return replace(changes, changed=changed)


def expect_named(source: JournaledSource, nameless: int) -> None:
    """Expect that a source which tells what changed names each fact.

    Without a name it could not be told which fact of the store a changed one was before: both
    would stay.

    Args:
        source: The source.
        nameless: How many of the facts that it gave have no identifier.

    Raises:
        FactError: It is more than none.
    """
    if nameless:
        raise FactError(
            f"A source of facts ({type(source).__name__}) that tells its changes() must give each "
            f"fact an identifier, got {nameless:,} without. Give the facts of triples() and of "
            "changes() an id, or leave changes() out: all is then read and compared."
        )


def expect_empty(source: TripleSource, count: int) -> None:
    """Refuse to empty a store because a source gave nothing, unless it says that it is empty.

    Raises:
        SourceError: It does not.
    """
    with reading(source):
        said = source.count()
    if said != 0:
        raise SourceError(
            f"A source of facts ({type(source).__name__}) gave none, while the store holds "
            f"{count:,} of it, and it does not say that it is empty. The store is as it was. See "
            "what became of the source. If it is meant to be empty: "
            "store.sync(source, allow_empty=True)."
        )
