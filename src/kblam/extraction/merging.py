"""Facts that say the same made one, facts renamed, and both taken back.

A fact that came of others by renaming keeps these in its metadata under ``merged_from``, word for
word; a fact that several documents state lists them under ``evidence``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from kblam.extraction._rewriting import rewrite
from kblam.extraction.report import Merge
from kblam.knowledge import KnowledgeStore, ListSource, Triple, as_triple, verbalise

__all__ = ["combine", "merges_in", "rename", "undo_merges"]

_ORIGINALS = "merged_from"
_EVIDENCE = "evidence"
_PLACE = ("document", "start", "end")


def combine(triples: Iterable[Triple]) -> list[Triple]:
    """Return the facts, each said once: the first one's metadata, and the places of all.

    Args:
        triples: Facts. Properties that are the same in words (``works_at``, ``worksAt``) are the
            same.
    """
    said: dict[tuple[str, str, str], list[Triple]] = {}
    for triple in triples:
        key = (triple.entity, verbalise(triple.property), triple.value)
        said.setdefault(key, []).append(triple)
    return [own[0] if len(own) == 1 else _united(own) for own in said.values()]


def rename(triple: Triple, names: Mapping[str, str], relations: Collection[str]) -> Triple:
    """Return a fact with other names for the entities in it; it keeps what it was.

    Args:
        triple: The fact.
        names: New names by old ones.
        relations: The properties whose values are entities too, in words.
    """
    entity = names.get(triple.entity, triple.entity)
    value = triple.value
    if verbalise(triple.property) in relations:
        value = names.get(value, value)
        if value == entity:  # (Acme, also known as, ACME Corp) still says something
            value = triple.value
    if (entity, value) == (triple.entity, triple.value):
        return triple
    originals = triple.metadata.get(_ORIGINALS) or [triple.to_dict()]
    metadata = {**triple.metadata, _ORIGINALS: originals}
    return Triple(entity, triple.property, value, triple.id, metadata)


def merges_in(store: KnowledgeStore) -> list[Merge]:
    """Return the merges that a store's facts remember, by name. Their probability is not kept."""
    aliases: dict[str, set[str]] = {}
    for fact in store.facts():
        for original in fact.metadata.get(_ORIGINALS, ()):
            for part in ("entity", "value"):
                old, new = original[part], getattr(fact, part)
                if old != new:
                    aliases.setdefault(new, set()).add(old)
    return [Merge(name, tuple(sorted(own))) for name, own in sorted(aliases.items())]


def undo_merges(store: KnowledgeStore, names: Iterable[str] | None = None) -> int:
    """Give merged entities their own names back.

    The facts are then what they would be if these names had never been merged.

    Args:
        store: Is changed in one transaction.
        names: The names the merged entities have now; all of them if None.

    Returns:
        How many facts were added, removed or changed.

    Raises:
        StoreChangedError: Others wrote to the store all the time. It holds what they wrote.
    """
    chosen = None if names is None else set(names)

    def restored(facts: Iterable[Triple]) -> ListSource:
        return ListSource(combine(own for fact in facts for own in _restored(fact, chosen)))

    _, report = rewrite(store, restored)
    return report.added + report.removed + report.changed


def _restored(fact: Triple, chosen: set[str] | None) -> list[Triple]:
    """Return the facts that one came of, as far as the chosen names are concerned."""
    originals = [as_triple(item) for item in fact.metadata.get(_ORIGINALS, ())]
    if not originals or (chosen is not None and chosen.isdisjoint((fact.entity, fact.value))):
        return [fact]
    restored = []
    for original in originals:
        names = {}
        if chosen is not None and fact.entity not in chosen:
            names[original.entity] = fact.entity
        if chosen is not None and fact.value not in chosen:
            names[original.value] = fact.value
        restored.append(rename(original, names, {verbalise(original.property)}))
    return restored


def _united(triples: list[Triple]) -> Triple:
    first = triples[0]
    metadata = dict(first.metadata)
    places = [place for triple in triples for place in _places(triple)]
    distinct = [place for i, place in enumerate(places) if place not in places[:i]]
    if len(distinct) > 1:
        metadata[_EVIDENCE] = distinct
    if any(_ORIGINALS in triple.metadata for triple in triples):
        originals = (original for triple in triples for original in _originals(triple))
        # Each once, as facts are: a text that is read again says nothing new.
        metadata[_ORIGINALS] = [original.to_dict() for original in combine(originals)]
    return Triple(first.entity, first.property, first.value, first.id, metadata)


def _originals(triple: Triple) -> list[Triple]:
    """Return what a fact was before names were merged: itself if none was."""
    return [as_triple(item) for item in triple.metadata.get(_ORIGINALS, ())] or [triple]


def _places(triple: Triple) -> list[dict[str, Any]]:
    """Return where a fact is stated."""
    if _EVIDENCE in triple.metadata:
        return list(triple.metadata[_EVIDENCE])
    place = {key: triple.metadata[key] for key in _PLACE if key in triple.metadata}
    return [place] if "document" in place else []
