"""Oxigraph inside this process: ``pyoxigraph.Store`` and ``pyoxigraph.Dataset``."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Hashable, Iterator, Sequence
from typing import IO, Any, cast

import pyoxigraph
from pyoxigraph import Dataset, RdfFormat, Store

from kblam.errors import SourceError
from kblam.knowledge import Triple
from kblam_integrations.sources._oxigraph_terms import plain_quads
from kblam_integrations.sources._rdf_facts import facts
from kblam_integrations.sources._rdf_terms import Quad

__all__ = ["OxigraphSource", "source_of"]

_FAILURES = (OSError, RuntimeError)  # of files that are gone, of files that are damaged


class OxigraphSource:
    """The facts of a ``pyoxigraph.Store``, in memory or on disk, or of a ``Dataset``.

    They are the same, and have the same metadata, as those of an rdflib ``Dataset`` that holds
    the same quads: see :class:`~kblam_integrations.sources.RdfSource`.

    A store is read as it is at one moment, whatever other threads write meanwhile. To ask
    whether it changed takes one pass over it: about 50 ms per 100,000 quads in memory.

    Args:
        store: Is only read.
        languages: The preferred languages, the best first; text without one always counts.
    """

    def __init__(self, store: Store | Dataset, *, languages: Sequence[str] = ("en",)) -> None:
        self._store = store
        self._languages = tuple(languages)

    def triples(self) -> Iterator[Triple]:
        """Read every quad that states a fact.

        Raises:
            SourceError: The store on disk cannot be read.
        """
        yield from facts(self._quads(), self._languages)

    def count(self) -> int:
        """Return how many quads there are."""
        return len(self._store)

    def state(self) -> Hashable:
        """Return a hash of all quads.

        Raises:
            SourceError: The store on disk cannot be read.
        """
        digest = _Digest()
        try:
            if isinstance(self._store, Store):
                self._store.dump(cast("IO[bytes]", digest), RdfFormat.N_QUADS)
            else:
                pyoxigraph.serialize(self._store, cast("IO[bytes]", digest), RdfFormat.N_QUADS)
        except _FAILURES as error:
            raise _unreadable(error) from error
        return digest.hash.hexdigest()

    def _quads(self) -> Iterator[Quad]:
        try:
            yield from plain_quads(self._store)
        except _FAILURES as error:
            raise _unreadable(error) from error


class _Digest(io.RawIOBase):
    """A file that keeps nothing of what is written but its hash."""

    def __init__(self) -> None:
        super().__init__()
        self.hash = hashlib.blake2b(digest_size=16)

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.hash.update(data)
        return len(data)


def _unreadable(error: Exception) -> SourceError:
    return SourceError(
        f"The Oxigraph store could not be read: {error}. Is its folder still there, and no "
        "other process writing to it?"
    )


def source_of(kb: Any) -> OxigraphSource | None:
    """Return the source of a pyoxigraph store or dataset, None for anything else."""
    return OxigraphSource(kb) if isinstance(kb, (Store, Dataset)) else None
