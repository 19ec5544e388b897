"""Facts taken out of many, and facts that are kept as int8."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, overload

import torch
from torch import Tensor

__all__ = ["Int8Facts", "ScoredFacts", "as_tensor", "gather_facts"]


@dataclass(frozen=True)
class Int8Facts:
    """Keys or values of facts as whole numbers, and what each fact's are multiplied by.

    Attributes:
        codes: (M, E) or (B, M, E), int8, from -127 to 127.
        scale: (M,) or (B, M), float32.
    """

    codes: Tensor
    scale: Tensor

    @property
    def shape(self) -> torch.Size:
        """Of the facts: (M, E) or (B, M, E)."""
        return self.codes.shape

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self.codes.device

    @property
    def nbytes(self) -> int:
        """The memory they take."""
        return self.codes.nbytes + self.scale.nbytes

    def dim(self) -> int:
        """2, or 3 where each row of a batch has its own."""
        return self.codes.dim()

    def to(self, device: torch.device) -> Int8Facts:
        """The same on a device."""
        return Int8Facts(self.codes.to(device), self.scale.to(device))

    def float(self) -> Tensor:
        """The numbers that they stand for, float32."""
        return self.codes.float() * self.scale.unsqueeze(-1)

    def index_select(self, dim: int, index: Tensor) -> Int8Facts:
        """Take facts at places (n,), as a tensor's method does."""
        return Int8Facts(self.codes.index_select(dim, index), self.scale.index_select(dim, index))

    def __getitem__(self, index: Any) -> Int8Facts:
        """Take facts, by what stands for M and what stands before it."""
        return Int8Facts(self.codes[index], self.scale[index])


def as_tensor(facts: Tensor | Int8Facts) -> Tensor:
    """Facts as numbers: int8 in single precision, tensors as they are."""
    return facts.float() if isinstance(facts, Int8Facts) else facts


@overload
def gather_facts(facts: Tensor, index: Tensor) -> Tensor: ...
@overload
def gather_facts(facts: Int8Facts, index: Tensor) -> Int8Facts: ...
@overload
def gather_facts(facts: Tensor | Int8Facts, index: Tensor) -> Tensor | Int8Facts: ...
def gather_facts(facts: Tensor | Int8Facts, index: Tensor) -> Tensor | Int8Facts:
    """Rows of facts.

    Args:
        facts: (M, E) or (B, M, E).
        index: (B, k).

    Returns:
        (B, k, E), in the form of the facts.
    """
    if facts.dim() == 2:
        return facts[index]
    if isinstance(facts, Int8Facts):
        return Int8Facts(gather_facts(facts.codes, index), facts.scale.gather(1, index))
    return facts.gather(1, index.unsqueeze(-1).expand(-1, -1, facts.shape[-1]))


@dataclass(frozen=True)
class ScoredFacts:
    """The facts that are scored: all there are, or those at some places, which are not copied.

    Attributes:
        keys: (M, E) or (B, M, E).
        places: (U,), or None for all.
    """

    keys: Tensor | Int8Facts
    places: Tensor | None

    @property
    def total(self) -> int:
        return int(self.keys.shape[-2] if self.places is None else self.places.shape[0])

    def part(self, start: int, end: int) -> Tensor | Int8Facts:
        """The keys of some facts one after another, (n, E) or (B, n, E)."""
        if self.places is not None:
            return self.keys.index_select(0, self.places[start:end])
        return self.keys[start:end] if self.keys.dim() == 2 else self.keys[:, start:end]

    def named(self, index: Tensor) -> Tensor:
        """Indices among the facts scored as indices of the facts given."""
        return index if self.places is None else self.places[index]

    def gathered(self, index: Tensor) -> Tensor:
        """The keys of facts by their index among those scored, (B, k, E), as numbers."""
        return as_tensor(gather_facts(self.keys, self.named(index)))

    def of(self, rows: Tensor) -> ScoredFacts:
        """The same for some of B rows."""
        return self if self.keys.dim() == 2 else ScoredFacts(self.keys[rows], self.places)
