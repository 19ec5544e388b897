"""Questions about a synthetic world, with the facts that answer them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from kblam.errors import ConfigError
from kblam.training.data._asking import (
    BRIEF_SUFFIXES,
    BRIEF_SYSTEMS,
    SYSTEMS,
    ask,
    ask_two,
    dress,
)
from kblam.training.data._names import make_name, variant
from kblam.training.data._tables import Relation
from kblam.training.data.world import World, is_validation_name, relations_by_kind

__all__ = ["TrainingQuestion", "generate_questions"]

#: Share of each kind of question. Unanswerable ones come in three sorts, of which the first,
#: another property of a known entity, is what refusal fails on most.
_SHARES = {"single": 0.61, "two": 0.12, "list": 0.05, "other_property": 0.14,
           "similar_name": 0.05, "unknown_name": 0.03}  # fmt: skip
_BRIEF = 0.08
_SYSTEM = 0.2
_MAX_NEAR = 6


@dataclass(frozen=True)
class TrainingQuestion:
    """A question and what its answer is made of.

    Attributes:
        question: What the user asks.
        gold: The facts that answer it, as indices into the world's facts; empty if none does.
        answer: The parts of the answer. A string is text with its own spaces, an integer the
            value of that fact, copied as it stands. Empty for an unanswerable question, whose
            answer is the refusal.
        kind: "single", "two", "list" or "unanswerable".
        system: A system prompt, if there is one.
        history: Earlier turns as (role, text).
        near: Facts easily taken for the gold ones: of the same entity, or of similar names.
    """

    question: str
    gold: tuple[int, ...]
    answer: tuple[str | int, ...]
    kind: str
    system: str | None = None
    history: tuple[tuple[str, str], ...] = ()
    near: tuple[int, ...] = ()


def generate_questions(world: World, num: int, seed: int) -> list[TrainingQuestion]:
    """Ask about a world.

    The same arguments give the same questions.

    Args:
        world: The world to ask about.
        num: How many questions to make.
        seed: The seed of all choices.

    Raises:
        ConfigError: The number is negative.
    """
    if num < 0:
        raise ConfigError(f"num must be 0 or more, got {num}.")
    asker = _Asker(world, Random(f"{world.split}-{seed}"))
    kinds, weights = list(_SHARES), list(_SHARES.values())
    questions: list[TrainingQuestion] = []
    while len(questions) < num:
        made = asker.make(asker.rng.choices(kinds, weights=weights)[0])
        # A small world may have no fact of that sort: draw again.
        if made is not None:
            questions.append(made)
    return questions


class _Asker:
    """Makes questions about one world."""

    def __init__(self, world: World, rng: Random) -> None:
        self.world = world
        self.rng = rng
        self.entities = tuple(world.by_entity)
        self.taken = {name.lower() for name in self.entities}
        self.known = relations_by_kind(world.split)
        self.lists = sorted(
            {
                (fact.entity, relation.id)
                for fact, relation in zip(world.facts, world.relations, strict=True)
                if relation.plural is not None and len(world.matching(fact.entity, relation.id)) > 1
            }
        )
        self.by_relation: dict[str, list[int]] = {}
        for index, relation in enumerate(world.relations):
            self.by_relation.setdefault(relation.id, []).append(index)
        self._makers: dict[str, Callable[[], TrainingQuestion | None]] = {
            "single": self._single,
            "two": self._two,
            "list": self._list,
            "other_property": self._other_property,
            "similar_name": self._similar_name,
            "unknown_name": self._unknown_name,
        }

    def make(self, kind: str) -> TrainingQuestion | None:
        """Make a question of a kind, or None where the world has no fact for it."""
        return self._makers[kind]()

    def _single(self) -> TrainingQuestion | None:
        index = self.rng.randrange(len(self.world.facts))
        fact, relation = self.world.facts[index], self.world.relations[index]
        gold = self.world.matching(fact.entity, relation.id)
        return self._ask_about(fact.entity, relation, gold)

    def _list(self) -> TrainingQuestion | None:
        if not self.lists:
            return None
        entity, relation_id = self.rng.choice(self.lists)
        gold = self.world.matching(entity, relation_id)
        return self._ask_about(entity, self.world.relations[gold[0]], gold)

    def _ask_about(
        self, entity: str, relation: Relation, gold: tuple[int, ...]
    ) -> TrainingQuestion:
        many = len(gold) > 1
        question = dress(
            self.rng,
            ask(self.rng, relation, entity, self.world.kinds[entity],
                many=many or (relation.plural is not None and self.rng.random() < 0.5)),
        )  # fmt: skip
        system = self.rng.choice(SYSTEMS) if self.rng.random() < _SYSTEM else None
        answer: tuple[str | int, ...]
        if self.rng.random() < _BRIEF:
            answer = _joined(gold)
            if self.rng.random() < 0.7:
                question = _with_mark(question) + self.rng.choice(BRIEF_SUFFIXES)
            else:
                system = self.rng.choice(BRIEF_SYSTEMS)
        else:
            answer = self._sentence(relation, gold)
        return TrainingQuestion(
            question=question,
            gold=gold,
            answer=answer,
            kind="list" if many else "single",
            system=system,
            near=self._near(entity, relation, gold),
        )

    def _sentence(self, relation: Relation, gold: tuple[int, ...]) -> tuple[str | int, ...]:
        fact = self.world.facts[gold[0]]
        if len(gold) > 1:
            lead = f"The {relation.plural} of {fact.entity} are "
        else:
            lead = f"The {_in_sentence(fact.property_text)} of {fact.entity} is "
        return (lead, *_joined(gold), *self._stop(gold[-1]))

    def _stop(self, last: int) -> tuple[str, ...]:
        """The full stop, unless the value itself ends with one ("Inc.")."""
        return () if self.world.facts[last].value.endswith(".") else (".",)

    def _two(self) -> TrainingQuestion | None:
        first = self.rng.randrange(len(self.world.facts))
        second = self._partner(first)
        if second is None:
            return None
        pair = (first, second) if self.rng.random() < 0.5 else (second, first)
        for index in pair:
            if len(self.world.matching(self.world.facts[index].entity,
                                       self.world.relations[index].id)) > 1:  # fmt: skip
                return None
        facts = [self.world.facts[index] for index in pair]
        asked = [
            (self.world.relations[index], fact.entity, self.world.kinds[fact.entity])
            for index, fact in zip(pair, facts, strict=True)
        ]
        answer: tuple[str | int, ...] = (
            f"The {_in_sentence(facts[0].property_text)} of {facts[0].entity} is ",
            pair[0],
            f" and the {_in_sentence(facts[1].property_text)} of {facts[1].entity} is ",
            pair[1],
            *self._stop(pair[1]),
        )
        near = (
            *self._near(facts[0].entity, asked[0][0], pair),
            *self._near(facts[1].entity, asked[1][0], pair),
        )
        return TrainingQuestion(
            question=dress(self.rng, ask_two(self.rng, asked[0], asked[1])),
            gold=pair,
            answer=answer,
            kind="two",
            system=self.rng.choice(SYSTEMS) if self.rng.random() < _SYSTEM else None,
            near=tuple(dict.fromkeys(near)),
        )

    def _partner(self, first: int) -> int | None:
        """A second fact: another property of the entity, or the same one of another entity."""
        entity, relation = self.world.facts[first].entity, self.world.relations[first]
        if self.rng.random() < 0.6:
            others = [
                index for index in self.world.by_entity[entity]
                if self.world.relations[index].id != relation.id
            ]  # fmt: skip
        else:
            others = [
                index for index in self._sample(self.by_relation[relation.id], 8)
                if self.world.facts[index].entity != entity
            ]  # fmt: skip
        return self.rng.choice(others) if others else None

    def _sample(self, items: list[int], count: int) -> list[int]:
        return self.rng.sample(items, min(count, len(items)))

    def _near(self, entity: str, relation: Relation, gold: tuple[int, ...]) -> tuple[int, ...]:
        """Facts easily taken for the gold ones, the entity's own first."""
        own = [index for index in self.world.by_entity.get(entity, ()) if index not in gold]
        alike = [
            index for index in self._sample(self.by_relation.get(relation.id, []), 40)
            if index not in gold and index not in own
        ]  # fmt: skip
        words = set(entity.lower().split())
        alike.sort(
            key=lambda index: -len(words & set(self.world.facts[index].entity.lower().split()))
        )
        self.rng.shuffle(own)
        return tuple((*own[:4], *alike[: max(2, _MAX_NEAR - len(own[:4]))]))

    def _other_property(self) -> TrainingQuestion | None:
        """Ask a known entity for a property that is not there, near to one that is."""
        entity = self.rng.choice(self.entities)
        stored = [self.world.relations[index] for index in self.world.by_entity[entity]]
        groups = {relation.group for relation in stored}
        types = {relation.value_type for relation in stored}
        open_relations = [
            relation for relation in self.known[self.world.kinds[entity]]
            if relation.group not in groups
        ]  # fmt: skip
        if not open_relations or entity.lower() in self.world.values:
            return None
        weights = [5.0 if relation.value_type in types else 1.0 for relation in open_relations]
        relation = self.rng.choices(open_relations, weights=weights)[0]
        return self._unanswerable(entity, self.world.kinds[entity], relation)

    def _similar_name(self) -> TrainingQuestion | None:
        """Ask for a property that is there for similar names, not for this one."""
        index = self.rng.randrange(len(self.world.facts))
        fact, relation = self.world.facts[index], self.world.relations[index]
        kind = self.world.kinds[fact.entity]
        name = self._unknown(lambda: variant(self.rng, kind, fact.entity))
        if name is None:
            return None
        return self._unanswerable(name, kind, relation, (index,))

    def _unknown_name(self) -> TrainingQuestion | None:
        """Ask about an entity of which nothing is there."""
        relation = self.rng.choice(self.world.relations)
        name = self._unknown(lambda: make_name(self.rng, relation.kind))
        return None if name is None else self._unanswerable(name, relation.kind, relation)

    def _unknown(self, make: Callable[[], str]) -> str | None:
        for _ in range(20):
            name = make()
            if name.lower() in self.taken or name.lower() in self.world.values:
                continue
            if is_validation_name(name) == (self.world.split == "validation"):
                return name
        return None

    def _unanswerable(
        self, entity: str, kind: str, relation: Relation, near: tuple[int, ...] = ()
    ) -> TrainingQuestion:
        question = dress(self.rng, ask(self.rng, relation, entity, kind))
        system = self.rng.choice(SYSTEMS) if self.rng.random() < _SYSTEM else None
        if self.rng.random() < _BRIEF:
            question = _with_mark(question) + self.rng.choice(BRIEF_SUFFIXES)
        tempting = dict.fromkeys((*near, *self._near(entity, relation, ())))
        return TrainingQuestion(
            question=question,
            gold=(),
            answer=(),
            kind="unanswerable",
            system=system,
            near=tuple(tempting),
        )


def _joined(indices: tuple[int, ...]) -> tuple[str | int, ...]:
    """Values one after the other: A, B and C."""
    parts: list[str | int] = [indices[0]]
    for position, index in enumerate(indices[1:], start=1):
        parts += [" and " if position == len(indices) - 1 else ", ", index]
    return tuple(parts)


def _in_sentence(name: str) -> str:
    """A property's name inside a sentence: "Hair colour" in lower case, "CEO" as it is."""
    return name[:1].lower() + name[1:] if name[1:2].islower() else name


def _with_mark(question: str) -> str:
    return question if question.endswith(("?", ".", "!")) else f"{question}?"
