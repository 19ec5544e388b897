"""What questions look up in a world, and the question they make."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from kblam.training.data._tables import Relation
from kblam.training.data.world import World

__all__ = ["TrainingQuestion", "WorldIndex"]

_OWN_NEAR = 4
_MAX_NEAR = 6
_MIN_ALIKE = 2
_LOOK_AT = 8


@dataclass(frozen=True)
class TrainingQuestion:
    """A question and what its answer is made of.

    Attributes:
        question: What the user asks.
        gold: The facts that answer it, as indices into the world's facts; empty if none does.
        answer: The parts of the answer. A string is text with its own spaces, an integer the
            value of that fact, copied as it stands. Empty for an unanswerable question, whose
            answer is the refusal.
        kind: What sort of question it is, a key of ``SHARES``; "unanswerable" for all sorts
            that have no answer.
        system: A system prompt, if there is one.
        history: Earlier turns as (role, text).
        near: Facts easily taken for the gold ones: of the same entity, or of similar names.
        asked: What is asked for, as (entity, id of the relation).
    """

    question: str
    gold: tuple[int, ...]
    answer: tuple[str | int, ...]
    kind: str
    system: str | None = None
    history: tuple[tuple[str, str], ...] = ()
    near: tuple[int, ...] = ()
    asked: tuple[tuple[str, str], ...] = ()

    @property
    def before(self) -> str:
        """What the user asked before, or an empty text."""
        return next((text for role, text in reversed(self.history) if role == "user"), "")


class WorldIndex:
    """A world with the tables that questions need.

    Attributes:
        world: The world.
        by_relation: The indices of each relation's facts, by the relation's id.
        by_word: The indices of the facts of entities with a word in their name, by the
            relation's id and the word.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.by_relation: dict[str, list[int]] = defaultdict(list)
        self.by_word: dict[tuple[str, str], list[int]] = defaultdict(list)
        for index, (fact, relation) in enumerate(zip(world.facts, world.relations, strict=True)):
            self.by_relation[relation.id].append(index)
            for word in set(fact.entity.lower().split()):
                self.by_word[relation.id, word].append(index)

    def relation(self, index: int) -> Relation:
        """Return the relation of a fact."""
        return self.world.relations[index]

    def entity(self, index: int) -> str:
        """Return the entity of a fact."""
        return self.world.facts[index].entity

    def asked(self, gold: Sequence[int]) -> tuple[tuple[str, str], ...]:
        """Return what a question for these facts asks for."""
        pairs = ((self.entity(index), self.relation(index).id) for index in gold)
        return tuple(dict.fromkeys(pairs))

    def own(self, entity: str) -> tuple[int, ...]:
        """Return the indices of an entity's facts."""
        return self.world.by_entity.get(entity, ())

    def crowded(self, entity: str, relation: Relation) -> bool:
        """Whether the entity has another property that may be taken for this one."""
        return any(
            self.relation(index).id != relation.id and self.relation(index).overlaps(relation)
            for index in self.own(entity)
        )

    def single(self, index: int) -> bool:
        """Whether a fact is its entity's only one of its relation, and not told backwards."""
        relation = self.relation(index)
        return not relation.inverse and len(self.world.matching(self.entity(index), relation)) == 1

    def near(
        self, rng: Random, entity: str, relation: Relation, gold: Sequence[int]
    ) -> tuple[int, ...]:
        """Return facts easily taken for the gold ones, the entity's own first."""
        own = [index for index in self.own(entity) if index not in gold]
        rng.shuffle(own)
        own = own[:_OWN_NEAR]
        alike: list[int] = []
        for word in entity.lower().split():
            alike += _sample(rng, self.by_word.get((relation.id, word), []), _MAX_NEAR)
        alike += _sample(rng, self.by_relation.get(relation.id, []), _LOOK_AT)
        others = dict.fromkeys(
            index for index in alike if self.entity(index) != entity and index not in gold
        )
        room = max(_MIN_ALIKE, _MAX_NEAR - len(own))
        return (*own, *list(others)[:room])

    def text(self, parts: Sequence[str | int]) -> str:
        """Return an answer as a reader sees it, the values in their places."""
        return "".join(
            self.world.facts[part].value if isinstance(part, int) else part for part in parts
        )


def _sample(rng: Random, items: Sequence[int], count: int) -> list[int]:
    return rng.sample(items, min(count, len(items)))
