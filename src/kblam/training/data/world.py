"""A synthetic world: facts about made-up people, firms, things and places."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from random import Random
from typing import Literal

from kblam.errors import ConfigError
from kblam.knowledge import Triple
from kblam.training.data._names import make_name, variant
from kblam.training.data._tables import Relation, load_relations
from kblam.training.data._values import make_value

__all__ = ["Split", "World", "generate_world", "is_validation_name"]

Split = Literal["train", "validation"]

#: One name in so many belongs to validation worlds.
_VALIDATION_NAMES = 8
_WEIGHTS = {"person": 6.0, "employee": 3.0, "company": 4.0, "object": 3.0, "product": 2.0,
            "institute": 2.0, "city": 2.0, "building": 1.5}  # fmt: skip
_MAX_PROPERTIES = 8


@dataclass(frozen=True)
class World:
    """Facts, and what is needed to ask about them.

    Attributes:
        facts: The facts, in random order.
        relations: The relation of each fact, in the same order.
        kinds: The kind of each entity, by its name.
        split: The part of the data it belongs to.
        by_entity: The indices of each entity's facts.
        values: All values, in lower case.
    """

    facts: tuple[Triple, ...]
    relations: tuple[Relation, ...]
    kinds: dict[str, str]
    split: Split = "train"
    by_entity: dict[str, tuple[int, ...]] = field(default_factory=dict)
    values: frozenset[str] = frozenset()

    @property
    def entity_kinds(self) -> dict[str, str]:
        """The kind of each entity, by its name."""
        return self.kinds

    def matching(self, entity: str, relation: str) -> tuple[int, ...]:
        """Return the indices of an entity's facts of a relation, by the relation's id."""
        return tuple(
            index
            for index in self.by_entity.get(entity, ())
            if self.relations[index].id == relation
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

    The same arguments give the same world. Names of entities, and an eighth of the relations,
    are kept for ``split="validation"``, so that a model is measured on what it has not seen.

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
    by_entity: dict[str, list[int]] = {}
    for index, (fact, _) in enumerate(rows):
        by_entity.setdefault(fact.entity, []).append(index)
    return World(
        facts=tuple(fact for fact, _ in rows),
        relations=tuple(relation for _, relation in rows),
        kinds={name: builder.kinds[name] for name in by_entity},
        split=split,
        by_entity={name: tuple(indices) for name, indices in by_entity.items()},
        values=frozenset(fact.value.lower() for fact, _ in rows),
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
        if self.rng.random() < 0.25:
            twin = self._new_name(kind, like=name)
            if twin is not None:
                # Half the properties in common, so that only the name tells the facts apart.
                shared = self.rng.sample(relations, (len(relations) + 1) // 2)
                self._describe(twin, kind, self._choose(kind, shared))

    def _new_name(self, kind: str, *, like: str | None = None) -> str | None:
        for _ in range(200):
            name = make_name(self.rng, kind) if like is None else variant(self.rng, kind, like)
            if name.lower() in self._taken:
                continue
            if is_validation_name(name) == (self.split == "validation"):
                self._taken.add(name.lower())
                return name
        return None

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
            if relation.plural is not None and self.rng.random() < 0.6:
                count = self.rng.randint(2, 4)
            values = dict.fromkeys(make_value(self.rng, relation.value, name) for _ in range(count))
            self.rows.extend((Triple(name, stored, value), relation) for value in values)

    def _property(self, relation: Relation, style: float) -> str:
        """Return a name of the relation, written in one of the styles that stores use."""
        names = relation.stored
        name = names[0] if self.rng.random() < 0.8 else self.rng.choice(names)
        words = name.replace("_", " ").replace("-", " ").split(" ")
        if style < 0.60:
            return " ".join(words) if "_" in name else name
        if style < 0.76:
            return "_".join(words)
        if style < 0.86:
            return words[0] + "".join(part[:1].upper() + part[1:] for part in words[1:])
        return name.replace("_", " ")[:1].upper() + name.replace("_", " ")[1:]
