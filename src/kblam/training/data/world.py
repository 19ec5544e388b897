"""A synthetic world: facts about made-up people, firms, things and places."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import Literal

from kblam.errors import ConfigError
from kblam.knowledge import Triple
from kblam.training.data._tables import Relation, load_relations
from kblam.training.data._templates import fill, make_name, variant

__all__ = ["Split", "World", "generate_world", "is_validation_name", "relations_by_kind"]

Split = Literal["train", "validation"]

#: One name in so many belongs to validation worlds.
_VALIDATION_NAMES = 8
_WEIGHTS = {"person": 6.0, "employee": 3.0, "company": 4.0, "object": 3.0, "product": 2.0,
            "institute": 2.0, "city": 2.0, "building": 1.5}  # fmt: skip
_MAX_PROPERTIES = 8
_INVERSE = 0.05
_VERB = 0.3
# How often a relation has several values: of those made for it, and of those whose values are
# literals, or else entities.
_SEVERAL = {(True, True): 0.6, (True, False): 0.6, (False, True): 0.0, (False, False): 0.06}
_TWIN = 0.25
_NAME_TRIES = 200


@dataclass(frozen=True)
class World:
    """Facts, and what is needed to ask about them.

    Attributes:
        facts: The facts, in random order.
        relations: The relation of each fact, in the same order.
        entity_kinds: The kind of each entity, by its name.
        split: The part of the data it belongs to.
    """

    facts: tuple[Triple, ...]
    relations: tuple[Relation, ...]
    entity_kinds: Mapping[str, str]
    split: Split = "train"

    @cached_property
    def by_entity(self) -> Mapping[str, tuple[int, ...]]:
        """The indices of each entity's facts."""
        indices: dict[str, list[int]] = {}
        for index, fact in enumerate(self.facts):
            indices.setdefault(fact.entity, []).append(index)
        return {name: tuple(found) for name, found in indices.items()}

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the facts, for caches of what was made of them."""
        digest = hashlib.sha256()
        for fact in self.facts:
            digest.update("\x1f".join((fact.entity, fact.property, fact.value, "\n")).encode())
        return digest.hexdigest()

    @cached_property
    def values(self) -> frozenset[str]:
        """All values, in lower case."""
        return frozenset(fact.value.lower() for fact in self.facts)

    def matching(self, entity: str, relation: Relation) -> tuple[int, ...]:
        """Return the indices of an entity's facts of a relation."""
        return tuple(
            index
            for index in self.by_entity.get(entity, ())
            if self.relations[index].id == relation.id
        )


def is_validation_name(name: str) -> bool:
    """Whether a name is kept for validation worlds: no training world holds an entity of it."""
    return zlib.crc32(name.lower().encode()) % _VALIDATION_NAMES == 0


def relations_by_kind(split: Split) -> dict[str, tuple[Relation, ...]]:
    """Return the relations that a split may use, by kind of entity.

    Validation has all of them: those held back, and seen ones for unseen entities.
    """
    kinds: dict[str, list[Relation]] = {}
    for relation in load_relations():
        if split == "validation" or not relation.held_back:
            kinds.setdefault(relation.kind, []).append(relation)
    return {kind: tuple(relations) for kind, relations in kinds.items()}


def generate_world(num_facts: int, seed: int, *, split: Split = "train") -> World:
    """Make a world.

    The same arguments give the same world. An eighth of the names of entities, and one relation
    in 32, are kept for ``split="validation"``, so that a model is measured on what it has not seen.

    Args:
        num_facts: How many facts it holds.
        seed: The seed of all choices.
        split: Whose relations and names to use.

    Raises:
        ConfigError: The number of facts is not positive, or the split unknown.
        MissingExtraError: The packages with the word lists are not installed.
    """
    if num_facts < 1:
        raise ConfigError(f"num_facts must be at least 1, got {num_facts}.")
    if split not in ("train", "validation"):
        raise ConfigError(f"split must be 'train' or 'validation', got {split!r}.")
    builder = _Builder(Random(f"{split}-{seed}"), split)
    while len(builder.rows) < num_facts:
        builder.add_entity()
    rows = builder.rows[:num_facts]
    builder.rng.shuffle(rows)
    return World(
        facts=tuple(fact for fact, _ in rows),
        relations=tuple(relation for _, relation in rows),
        entity_kinds={fact.entity: builder.kinds[fact.entity] for fact, _ in rows},
        split=split,
    )


class _Builder:
    """Adds entities to a world, one after the other."""

    def __init__(self, rng: Random, split: Split) -> None:
        self.rng = rng
        self.split = split
        self.rows: list[tuple[Triple, Relation]] = []
        self.kinds: dict[str, str] = {}
        self._taken: set[str] = set()
        self._relations = relations_by_kind(split)
        self._names = tuple(self._relations)
        self._weights = [_WEIGHTS.get(kind, 1.0) for kind in self._names]

    def add_entity(self) -> None:
        """Add an entity with one to eight properties, sometimes two much alike."""
        kind = self.rng.choices(self._names, weights=self._weights)[0]
        name = self._new_name(kind)
        if name is None:
            return
        relations = self._choose(kind)
        self._describe(name, kind, relations)
        if self.rng.random() < _TWIN:
            twin = self._new_name(kind, like=name)
            if twin is not None:
                # Half the properties in common, so that only the name tells the facts apart.
                shared = self.rng.sample(relations, (len(relations) + 1) // 2)
                self._describe(twin, kind, self._choose(kind, shared))

    def _new_name(self, kind: str, *, like: str | None = None) -> str | None:
        for _ in range(_NAME_TRIES):
            made = make_name(self.rng, kind) if like is None else variant(self.rng, kind, like)
            name = made.strip()
            if self._take(name):
                return name
        return None

    def _take(self, name: str) -> bool:
        """Keep a name for a new entity, if it is free and of this split."""
        if name.lower() in self._taken or is_validation_name(name) != (self.split == "validation"):
            return False
        self._taken.add(name.lower())
        return True

    def _choose(self, kind: str, chosen: list[Relation] | None = None) -> list[Relation]:
        """Choose an entity's relations, at most one of each group."""
        known = self._relations[kind]
        count = 1
        while count < min(_MAX_PROPERTIES, len(known)) and self.rng.random() < 0.72:
            count += 1
        result = list(chosen or ())
        groups = {relation.group for relation in result}
        for relation in self.rng.sample(known, len(known)):
            if len(result) >= count:
                break
            if relation.group not in groups:
                groups.add(relation.group)
                result.append(relation)
        return result

    def _describe(self, name: str, kind: str, relations: list[Relation]) -> None:
        self.kinds[name] = kind
        style = self.rng.random()
        for relation in relations:
            stored = self._property(relation, style)
            count = 1
            if (
                self.rng.random()
                < _SEVERAL[relation.plural is not None, relation.value_kind is None]
            ):
                count = self.rng.randint(2, 4)
            values = dict.fromkeys(fill(self.rng, relation.value, name) for _ in range(count))
            self.rows.extend((Triple(name, stored, value), relation) for value in values)
            if relation.value_kind is not None and self.rng.random() < _INVERSE:
                self._turn_round(self.rows[-1][0], relation)

    def _turn_round(self, fact: Triple, relation: Relation) -> None:
        """Add the fact told from its value: Ann Lee is the founder of Acme."""
        if self._take(fact.value):
            other = relation.turned_round()
            self.kinds[fact.value] = other.kind
            self.rows.append((Triple(fact.value, other.name, fact.entity), other))

    def _property(self, relation: Relation, style: float) -> str:
        """Return a name of the relation, written in one of the styles that stores use."""
        names = relation.verbs if relation.verbs and self.rng.random() < _VERB else relation.stored
        name = names[0] if self.rng.random() < 0.8 else self.rng.choice(names)
        words = name.replace("_", " ").replace("-", " ").split(" ")
        if style < 0.60:
            return name.replace("_", " ")
        if style < 0.76:
            return "_".join(words)
        if style < 0.86:
            return words[0] + "".join(part[:1].upper() + part[1:] for part in words[1:])
        return name[:1].upper() + name[1:].replace("_", " ")
