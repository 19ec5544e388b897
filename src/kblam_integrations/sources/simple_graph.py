"""LlamaIndex's ``SimpleGraphStore``: triples of strings in a dictionary."""

from __future__ import annotations

import sys
from collections.abc import Hashable, Iterator
from typing import TYPE_CHECKING

from kblam.knowledge import Triple
from kblam_integrations.sources._moments import one_moment, undisturbed

if TYPE_CHECKING:
    from llama_index.core.graph_stores import SimpleGraphStore

__all__ = ["SimpleGraphSource"]


class SimpleGraphSource:
    """The triples of a ``SimpleGraphStore``.

    To ask whether it changed takes one pass over the dictionary: about 10 ms for 10,000
    triples. Another thread may change it meanwhile.

    Args:
        store: Is only read.
    """

    def __init__(self, store: SimpleGraphStore) -> None:
        self._store = store

    def triples(self) -> Iterator[Triple]:
        """Read every triple; one with an empty part says nothing and is left out.

        Raises:
            StoreError: It changed during every one of several tries.
        """
        for triple in one_moment(self._items, self.state):
            if all(part.strip() for part in triple):
                yield Triple(*triple)

    def count(self) -> int:
        """Return how many triples there are."""
        return len(self._items())

    def state(self) -> Hashable:
        """Return a hash of all triples."""
        return hash(tuple(self._items()))

    def _items(self) -> list[tuple[str, str, str]]:
        # The default limit of 30 cuts silently; a depth above 1 would repeat triples.
        related = undisturbed(lambda: self._store.get_rel_map(depth=1, limit=sys.maxsize))
        return [(str(e), str(p), str(v)) for found in related.values() for e, p, v in found]
