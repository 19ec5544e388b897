"""What a store asks of others: an embedder of texts, a source of triples, an extractor."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy.typing as npt

from kblam.knowledge.triple import Triple

__all__ = [
    "DocumentExtractor",
    "JournaledSource",
    "SourceChanges",
    "TextEmbedder",
    "TripleSource",
    "VersionedSource",
]


@runtime_checkable
class DocumentExtractor(Protocol):
    """Turns documents into facts; ``kblam.extraction.FactExtractor`` implements it."""

    def extract(self, documents: Any) -> TripleSource:
        """Extract the facts of documents."""
        ...


@runtime_checkable
class TextEmbedder(Protocol):
    """Embeds texts; ``kblam.encoding`` implements it."""

    @property
    def name(self) -> str:
        """Names the weights: vectors under one name are comparable."""
        ...

    @property
    def dimension(self) -> int:
        """The length E of a vector."""
        ...

    def encode(self, texts: Sequence[str]) -> npt.NDArray[Any]:
        """Embed texts.

        Returns:
            Float array (len(texts), E) with rows of unit length.
        """
        ...


@runtime_checkable
class TripleSource(Protocol):
    """Anything that can be read as triples, again and again."""

    def triples(self) -> Iterator[Triple]:
        """Read every triple from the beginning."""
        ...

    def count(self) -> int | None:
        """Return about how many triples there are (for progress bars), None if unknown.

        A store does not hold what it read against this. Only where a source gives nothing does
        0 say that it is meant to be empty. A source that can be cut short has to notice it and
        raise :class:`kblam.errors.IncompleteSourceError`.
        """
        ...


@runtime_checkable
class VersionedSource(TripleSource, Protocol):
    """A source that can tell, for less than reading it all, whether it has changed."""

    def state(self) -> Hashable:
        """Return a token that is equal for equal content."""
        ...


@dataclass(frozen=True, slots=True)
class SourceChanges:
    """What became of a source since an earlier state.

    Attributes:
        changed: What was added or changed, as it is now. Each triple has an identifier.
        removed: The identifiers of what is gone, whether it was there at that state or not.
        state: The state that this leads to; the next call starts from it.
    """

    changed: Collection[Triple]
    removed: Collection[str]
    state: Hashable


@runtime_checkable
class JournaledSource(VersionedSource, Protocol):
    """A source that can tell what changed: a mirror need not read the rest again.

    All its triples have identifiers, no two of them the same, and no two triples say the same.
    """

    def changes(self, since: Hashable) -> SourceChanges | None:
        """Return what changed after a state.

        Args:
            since: What :meth:`state` or an earlier call returned.

        Returns:
            None where the source cannot tell, or reading it all costs less.
        """
        ...
