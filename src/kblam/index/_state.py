"""Which facts an index is of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kblam.errors import ConfigError
from kblam.knowledge import FactVectors

__all__ = ["State", "check_settings"]

Single = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class State:
    """Which state of which store an index is of.

    Attributes:
        store_id: The store.
        encoder: The encoder's name.
        dimension: E.
        sequence: The journal's position.
        mark: What the last change before it drew at random (``FactVectors.mark``).
        count: How many facts have vectors.
    """

    store_id: str
    encoder: str
    dimension: int
    sequence: int
    mark: int | None
    count: int

    @classmethod
    def of(cls, vectors: FactVectors) -> State:
        """Return the state that vectors are of."""
        return cls(
            vectors.store_id,
            vectors.encoder,
            vectors.dimension,
            vectors.sequence,
            vectors.mark,
            len(vectors),
        )

    def may_become(self, later: State) -> bool:
        """Tell whether another state is one of the same facts, and no earlier one."""
        same = (self.store_id, self.encoder, self.dimension)
        if same != (later.store_id, later.encoder, later.dimension):
            return False
        if self.sequence == later.sequence:
            return self.mark == later.mark
        return self.sequence < later.sequence


def check_settings(
    vectors: FactVectors, queries: Single | None, wanted: int, recall: float
) -> None:
    """Refuse what no index can be built of.

    Raises:
        ConfigError: There are no facts, or a setting is out of range, or queries are of another
            length than keys.
    """
    if not len(vectors) or vectors.view is not None:
        raise ConfigError(
            f"Expected the vectors of a whole store with facts, got {len(vectors)} facts of the "
            f"view {vectors.view}. Read them with KnowledgeStore.vectors(encoder)."
        )
    if wanted < 1 or not 0 < recall <= 1:
        raise ConfigError(
            f"Expected wanted >= 1 and 0 < recall <= 1, got {wanted} and {recall}. Ask for the "
            "share of each query's best facts that is to be found."
        )
    dimension = vectors.dimension
    if queries is not None and (queries.ndim != 2 or queries.shape[1] != dimension):
        raise ConfigError(
            f"Expected queries (Q, {dimension}), got {queries.shape}. Embed them with the "
            f"encoder {vectors.encoder!r}."
        )
