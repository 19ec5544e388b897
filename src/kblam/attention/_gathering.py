"""Facts taken out of many."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

__all__ = ["ScoredFacts", "gather_facts"]


def gather_facts(facts: Tensor, index: Tensor) -> Tensor:
    """Rows of a fact tensor.

    Args:
        facts: (M, E) or (B, M, E).
        index: (B, k).

    Returns:
        (B, k, E).
    """
    if facts.dim() == 2:
        return facts[index]
    return facts.gather(1, index.unsqueeze(-1).expand(-1, -1, facts.shape[-1]))


@dataclass(frozen=True)
class ScoredFacts:
    """The facts that are scored: all there are, or those at some places, which are not copied.

    Attributes:
        keys: (M, E) or (B, M, E).
        places: (U,), or None for all.
    """

    keys: Tensor
    places: Tensor | None

    @property
    def total(self) -> int:
        return int(self.keys.shape[-2] if self.places is None else self.places.shape[0])

    def part(self, start: int, end: int) -> Tensor:
        """The keys of some facts one after another, (n, E) or (B, n, E)."""
        if self.places is None:
            return self.keys[..., start:end, :]
        return self.keys.index_select(0, self.places[start:end])

    def named(self, index: Tensor) -> Tensor:
        """Indices among the facts scored as indices of the facts given."""
        return index if self.places is None else self.places[index]

    def gathered(self, index: Tensor) -> Tensor:
        """The keys of facts by their index among those scored, (B, k, E)."""
        return gather_facts(self.keys, self.named(index))

    def of(self, rows: Tensor) -> ScoredFacts:
        """The same for some of B rows."""
        return self if self.keys.dim() == 2 else ScoredFacts(self.keys[rows], self.places)
