"""What an extraction did, for people to read and programs to keep."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["Contradiction", "EntityReport", "ExtractionReport", "KeptApart", "Likely", "Merge"]

_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Merge:
    """Names that were taken for one entity.

    Attributes:
        name: The one that the facts have now.
        aliases: The others.
        probability: That of the weakest link by which they hang together; None where it is not
            known any more.
    """

    name: str
    aliases: tuple[str, ...]
    probability: float | None = None

    def __str__(self) -> str:
        known = "" if self.probability is None else f" ({self.probability:.3f})"
        return f"{self.name} = {', '.join(self.aliases)}{known}"


@dataclass(frozen=True, slots=True)
class KeptApart:
    """Two names that look like one entity and were not merged, because something speaks against it.

    Attributes:
        left: One name.
        right: The other.
        probability: That they mean the same, by all that was compared.
        reason: What speaks against it.
    """

    left: str
    right: str
    probability: float
    reason: str

    def __str__(self) -> str:
        return f"{self.left} and {self.right} ({self.probability:.3f}): {self.reason}"


@dataclass(frozen=True, slots=True)
class Likely:
    """Two names that may mean the same, with a probability below the threshold."""

    left: str
    right: str
    probability: float

    def __str__(self) -> str:
        return f"{self.left} and {self.right} ({self.probability:.3f})"


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Several values of a property that has one.

    Attributes:
        entity: Of this entity.
        property: The property, in words.
        values: The values.
        documents: Where each value is from, "" where that is not known.
    """

    entity: str
    property: str
    values: tuple[str, ...]
    documents: tuple[str, ...]

    def __str__(self) -> str:
        said = (
            f"{value} ({document})" if document else value
            for value, document in zip(self.values, self.documents, strict=True)
        )
        return f"The {self.property} of {self.entity}: {', '.join(said)}"


@dataclass(frozen=True, slots=True)
class EntityReport:
    """Which names mean the same entity.

    Attributes:
        names: How many names were compared.
        threshold: From this probability on two names are merged.
        estimated: Whether the weights were estimated from these facts; else fixed ones were used.
        merges: The names that were merged.
        likely: The most probable pairs below the threshold, for a person to decide.
        kept_apart: Pairs above it that something speaks against.
    """

    names: int
    threshold: float
    estimated: bool
    merges: tuple[Merge, ...] = ()
    likely: tuple[Likely, ...] = ()
    kept_apart: tuple[KeptApart, ...] = ()


@dataclass(frozen=True, slots=True)
class ExtractionReport:
    """What an extraction found.

    Attributes:
        documents: How many documents were read.
        passages: In how many pieces.
        found: The facts that the extractor gave.
        duplicates: Those of them that say what another says.
        without_evidence: Those that were left out, as their passage does not hold their words.
        unreadable: What the extractor gave and is no fact, with the reason.
        facts: What is left, with what was known before.
        entities: Which names were merged; None where that was not asked for.
        contradictions: Properties with one value that have several.
    """

    documents: int = 0
    passages: int = 0
    found: int = 0
    duplicates: int = 0
    without_evidence: int = 0
    unreadable: tuple[str, ...] = ()
    facts: int = 0
    entities: EntityReport | None = None
    contradictions: tuple[Contradiction, ...] = field(default=())

    @property
    def merges(self) -> tuple[Merge, ...]:
        """The names that were merged."""
        return () if self.entities is None else self.entities.merges

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able values."""
        return asdict(self)

    def __str__(self) -> str:
        return "\n".join(self._lines())

    __repr__ = __str__

    def _lines(self) -> Iterable[str]:
        yield (
            f"{self.facts:,} facts from {self.documents:,} documents ({self.passages:,} passages); "
            f"{self.found:,} were found, {self.duplicates:,} of them say what another says, "
            f"{self.without_evidence:,} have no evidence in the text, "
            f"{len(self.unreadable):,} could not be read"
        )
        yield from _listed("Not readable", self.unreadable)
        if self.entities is not None:
            weights = "estimated from these facts" if self.entities.estimated else "fixed"
            yield (
                f"{self.entities.names:,} names compared, merged from a probability of "
                f"{self.entities.threshold} on, weights {weights}"
            )
            yield from _listed("Merged", self.entities.merges)
            yield from _listed("Kept apart", self.entities.kept_apart)
            yield from _listed("Perhaps the same", self.entities.likely)
        yield from _listed("Contradictions", self.contradictions)


def _listed(title: str, items: Sequence[object]) -> Iterable[str]:
    if items:
        yield f"{title} ({len(items):,}):"
        yield from (f"  {item}" for item in items[:_SHOWN])
    if len(items) > _SHOWN:
        yield f"  and {len(items) - _SHOWN:,} more"
