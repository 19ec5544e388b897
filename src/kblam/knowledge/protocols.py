"""What a store asks of others: an embedder of texts, a source of triples."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy.typing as npt

from kblam.knowledge.triple import Triple

__all__ = ["TextEmbedder", "TripleSource", "VersionedSource"]


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
        """Return about how many triples there are (for progress bars), None if unknown."""
        ...


@runtime_checkable
class VersionedSource(TripleSource, Protocol):
    """A source that can tell, for less than reading it all, whether it has changed."""

    def state(self) -> Hashable:
        """Return a token that is equal for equal content."""
        ...
