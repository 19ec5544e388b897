"""Asking a source, whatever it raises."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager

from kblam.errors import KBLaMError, SourceError, without_credentials
from kblam.knowledge.protocols import TripleSource, VersionedSource
from kblam.knowledge.triple import Triple, as_triple

__all__ = ["expect_empty", "reading", "state_of", "triples_of"]


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
