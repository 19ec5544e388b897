"""What a store's journal says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Change"]


@dataclass(frozen=True, slots=True)
class Change:
    """One change of one fact.

    Attributes:
        seq: Its number in the journal; it only grows.
        op: What happened.
        fact_id: To which fact.
    """

    seq: int
    op: Literal["add", "update", "remove"]
    fact_id: str
