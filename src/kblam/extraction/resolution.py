"""Which names mean the same entity, and what becomes of the facts when they are one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from kblam.errors import ConfigError
from kblam.extraction._clusters import cluster
from kblam.extraction._linkage import link
from kblam.extraction._records import (
    Record,
    compatible,
    entity_valued,
    make_records,
    plain_value,
    single_valued,
)
from kblam.extraction.merging import combine, rename
from kblam.extraction.report import Contradiction, EntityReport, KeptApart, Likely, Merge
from kblam.knowledge import Triple, as_triple, verbalise
from kblam.knowledge.sources import TripleLike

__all__ = ["Resolution", "ResolutionOptions", "resolve"]

_SHOWN_LIKELY = 50
_LIKELY = 0.2


@dataclass(frozen=True, slots=True)
class ResolutionOptions:
    """How names are compared.

    Attributes:
        threshold: From this probability on two names are merged.
        single_valued: The properties that have one value; judged from the facts if None.
        entity_properties: Properties whose values are entities too, beside those of which the
            facts show it.
        apart: Pairs of names that are never merged.
        estimate: Estimate the weights from the facts where there are enough of them.

    Raises:
        ConfigError: The threshold is not above 0.5 and at most 1.
    """

    threshold: float = 0.95
    single_valued: Collection[str] | None = None
    entity_properties: Collection[str] = ()
    apart: Collection[tuple[str, str]] = ()
    estimate: bool = True

    def __post_init__(self) -> None:
        if not 0.5 < self.threshold <= 1:
            raise ConfigError(
                "The threshold of entity resolution must be above 0.5 and at most 1, "
                f"got {self.threshold}. The default is 0.95."
            )


@dataclass(frozen=True, slots=True)
class Resolution:
    """Facts with one name for each entity.

    Attributes:
        triples: The facts; one that was renamed knows what it was, see
            :func:`~kblam.extraction.undo_merges`.
        entities: Which names were merged.
        contradictions: Properties with one value that have several now.
    """

    triples: list[Triple]
    entities: EntityReport
    contradictions: tuple[Contradiction, ...]


def resolve(triples: Iterable[TripleLike], options: ResolutionOptions | None = None) -> Resolution:
    """Give every entity one name, wherever the facts make it probable that names mean the same.

    Names are compared by Splink: their words, acronyms and initials, misspellings, what they are
    said to be, and the facts they share. Names with different numbers, initials, legal forms or
    values of a property that has one value are never merged, nor is a short form that
    may stand for two entities.

    Args:
        triples: The facts; what was merged before is taken as it is.
        options: The threshold and what is known of the properties.

    Raises:
        FactError: An item is no fact.
        MissingExtraError: Splink is not installed.
    """
    options = options or ResolutionOptions()
    facts = combine(as_triple(item) for item in triples)
    relations = entity_valued(facts, options.entity_properties)
    single = _single(facts, options)
    records = make_records(facts, relations)
    linkage = link(records, estimate=options.estimate)
    apart = {frozenset(pair) for pair in options.apart}

    def objection(left: int, right: int) -> str:
        return _objection(records[left], records[right], single, apart)

    clusters = cluster(linkage.candidates, options.threshold, objection)
    merges = [_merge([records[i] for i in group], p) for group, p in clusters.groups]
    names = {alias: merge.name for merge in merges for alias in merge.aliases}
    resolved = combine(rename(fact, names, relations) for fact in facts)
    likely = [
        Likely(records[c.left].name, records[c.right].name, c.probability)
        for c in linkage.candidates
        if _LIKELY <= c.probability < options.threshold and not objection(c.left, c.right)
    ]
    kept = [
        KeptApart(records[c.left].name, records[c.right].name, c.probability, reason)
        for c, reason in clusters.refused
    ]
    entities = EntityReport(
        names=len(records),
        threshold=options.threshold,
        estimated=linkage.estimated,
        merges=tuple(merges),
        likely=tuple(sorted(likely, key=lambda pair: -pair.probability)[:_SHOWN_LIKELY]),
        kept_apart=tuple(kept),
    )
    return Resolution(resolved, entities, contradictions(resolved, single))


def contradictions(triples: Sequence[Triple], single: Collection[str]) -> tuple[Contradiction, ...]:
    """Return where a property with one value has several.

    Args:
        triples: All facts.
        single: The properties that have one value, in words.
    """
    said: dict[tuple[str, str], list[Triple]] = defaultdict(list)
    for triple in triples:
        name = verbalise(triple.property)
        if name in single:
            said[triple.entity, name].append(triple)
    return tuple(
        Contradiction(
            entity,
            name,
            tuple(triple.value for triple in own),
            tuple(str(triple.metadata.get("document", "")) for triple in own),
        )
        for (entity, name), own in said.items()
        if _disagree([plain_value(triple.value) for triple in own])
    )


def _disagree(values: list[str]) -> bool:
    return any(not compatible({a}, {b}) for a in values for b in values)


def _single(facts: Sequence[Triple], options: ResolutionOptions) -> set[str]:
    if options.single_valued is None:
        return single_valued(facts)
    return {verbalise(name) for name in options.single_valued}


def _objection(
    left: Record, right: Record, single: Collection[str], apart: Collection[frozenset[str]]
) -> str:
    """Say why two names cannot mean the same, "" where they can."""
    if frozenset((left.name, right.name)) in apart:
        return "they are to be kept apart"
    if left.parts.excludes(right.parts):
        return (
            "their names differ in a number, a sign, an initial or a word that tells things apart"
        )
    if differing := left.contradicts(right, single):
        return f"they differ in {', '.join(differing)}"
    return ""


def _merge(records: list[Record], probability: float) -> Merge:
    """Choose the name to keep: written out rather than short, the one most used, the longest."""
    best = max(
        records,
        key=lambda r: (not r.parts.short, not r.parts.letters, r.mentions, len(r.name), r.name),
    )
    aliases = sorted(record.name for record in records if record is not best)
    return Merge(best.name, tuple(aliases), probability)
