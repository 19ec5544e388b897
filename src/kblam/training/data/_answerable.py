"""Questions that facts of the world answer."""

from __future__ import annotations

import re
from dataclasses import replace
from random import Random

from kblam.training.data._asking import (
    BRIEF_SUFFIXES,
    BRIEF_SYSTEMS,
    SYSTEMS,
    ask,
    ask_again,
    ask_larger,
    ask_several,
    ask_two,
    dress,
)
from kblam.training.data._index import TrainingQuestion, WorldIndex
from kblam.training.data._overview import ask_overview
from kblam.training.data._sentences import joined, told

__all__ = ["Answerable"]

_BRIEF = 0.08
_SYSTEM = 0.2
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
_NUMERIC_SLOTS = frozenset({"int", "intsep", "dec"})
_TRIES = 8
# Facts that are told at once, and how often of two entities.
_OVERVIEW = 6
_OF_BOTH = 0.15


class Answerable:
    """Makes questions that have an answer; each method returns None where it finds no fact."""

    def __init__(self, index: WorldIndex, rng: Random) -> None:
        self._index = index
        self._world = index.world
        self._rng = rng
        self._lists = sorted(
            {
                gold
                for number, relation in enumerate(self._world.relations)
                if len(gold := self._world.matching(index.entity(number), relation)) > 1
            }
        )
        self._inverse = [
            number for number, relation in enumerate(self._world.relations) if relation.inverse
        ]
        self._numeric = [
            number
            for number, relation in enumerate(self._world.relations)
            if relation.value_type in _NUMERIC_SLOTS and index.single(number)
        ]

    def single(self) -> TrainingQuestion | None:
        """Ask for one property of one entity."""
        number = self._rng.randrange(len(self._world.facts))
        relation = self._index.relation(number)
        gold = self._world.matching(self._index.entity(number), relation)
        return (
            None if relation.inverse else self._about(gold, "list" if len(gold) > 1 else "single")
        )

    def list(self) -> TrainingQuestion | None:
        """Ask for a property that has several values."""
        return self._about(self._rng.choice(self._lists), "list") if self._lists else None

    def inverse(self) -> TrainingQuestion | None:
        """Ask of which entity this one is the value."""
        if not self._inverse:
            return None
        return self._about((self._rng.choice(self._inverse),), "inverse")

    def _about(self, gold: tuple[int, ...], kind: str) -> TrainingQuestion:
        entity, relation = self._index.entity(gold[0]), self._index.relation(gold[0])
        many = len(gold) > 1 or (relation.plural is not None and self._rng.random() < 0.5)
        question = ask(
            self._rng,
            relation,
            entity,
            many=many,
            plain=self._index.crowded(entity, relation),
        )
        near = self._index.near(self._rng, entity, relation, gold)
        if self._rng.random() < _BRIEF:
            return self._brief(question, gold, kind, near)
        return TrainingQuestion(
            question=dress(self._rng, question),
            gold=gold,
            answer=told(self._world.facts, gold),
            kind=kind,
            system=self._system(),
            near=near,
            asked=self._index.asked(gold),
        )

    def _brief(
        self, question: str, gold: tuple[int, ...], kind: str, near: tuple[int, ...]
    ) -> TrainingQuestion:
        """Ask for the bare value, in the question or in the system prompt."""
        system = None
        if self._rng.random() < 0.7:
            question += self._rng.choice(BRIEF_SUFFIXES)
        else:
            system = self._rng.choice(BRIEF_SYSTEMS)
        return TrainingQuestion(
            question=question,
            gold=gold,
            answer=joined(gold),
            kind=kind,
            system=system,
            near=near,
            asked=self._index.asked(gold),
        )

    def _system(self) -> str | None:
        return self._rng.choice(SYSTEMS) if self._rng.random() < _SYSTEM else None

    def two(self) -> TrainingQuestion | None:
        """Ask for two properties of an entity, or for properties of two entities."""
        first = self._rng.randrange(len(self._world.facts))
        second = self._partner(first)
        if second is None or not (self._index.single(first) and self._index.single(second)):
            return None
        pair = (first, second) if self._rng.random() < 0.5 else (second, first)
        relations = [self._index.relation(number) for number in pair]
        names = [self._index.entity(number) for number in pair]
        question = ask_two(self._rng, (relations[0], names[0]), (relations[1], names[1]))
        return self._several(dress(self._rng, question), pair, "two")

    def three(self) -> TrainingQuestion | None:
        """Ask for three properties of an entity."""
        entity = self._index.entity(self._rng.randrange(len(self._world.facts)))
        known = [number for number in self._index.own(entity) if self._index.single(number)]
        if len(known) < 3:
            return None
        gold = tuple(self._rng.sample(known, 3))
        relations = [self._index.relation(number) for number in gold]
        return self._several(dress(self._rng, ask_several(self._rng, relations, entity)), gold,
                             "three")  # fmt: skip

    def overview(self) -> TrainingQuestion | None:
        """Ask for all that is known of an entity, or of two."""
        for _ in range(_TRIES):
            count = 2 if self._rng.random() < _OF_BOTH else 1
            about = [self._rng.randrange(len(self._world.facts)) for _ in range(count)]
            names = {self._index.entity(number): self._index.relation(number) for number in about}
            gold = tuple(number for name in names for number in self._index.own(name))
            # A short description is what such a request asks for.
            told_short = any(self._index.relation(number).sums_up for number in gold)
            if len(gold) <= _OVERVIEW and not told_short:
                question = ask_overview(self._rng, names)
                return self._several(dress(self._rng, question), gold, "overview")
        return None

    def _several(self, question: str, gold: tuple[int, ...], kind: str) -> TrainingQuestion:
        near: dict[int, None] = {}
        for number in gold:
            entity, relation = self._index.entity(number), self._index.relation(number)
            near.update(dict.fromkeys(self._index.near(self._rng, entity, relation, gold)))
        return TrainingQuestion(
            question=question,
            gold=gold,
            answer=told(self._world.facts, gold),
            kind=kind,
            system=self._system(),
            near=tuple(near),
            asked=self._index.asked(gold),
        )

    def _partner(self, first: int) -> int | None:
        """A second fact: another property of the entity, or one of another entity."""
        entity, relation = self._index.entity(first), self._index.relation(first)
        form = self._rng.random()
        if form < 0.55:
            others = [
                number
                for number in self._index.own(entity)
                if self._index.relation(number).id != relation.id
            ]
        elif form < 0.85:
            others = [n for n in self._index.by_relation[relation.id] if n != first]
        else:
            others = [self._rng.randrange(len(self._world.facts))]
        second = self._rng.choice(others) if others else None
        return None if second == first else second

    def compare(self) -> TrainingQuestion | None:
        """Ask which of two entities has the larger number."""
        if not self._numeric:
            return None
        first = self._rng.choice(self._numeric)
        relation = self._index.relation(first)
        for _ in range(_TRIES):
            second = self._rng.choice(self._index.by_relation[relation.id])
            if second == first or not self._index.single(second):
                continue
            # "so that of Acme is larger" wants a noun.
            if any(self._world.facts[number].verb_text for number in (first, second)):
                continue
            larger = self._larger(first, second)
            if larger is not None:
                return self._compared(first, second, larger)
        return None

    def _larger(self, first: int, second: int) -> int | None:
        """The fact with the larger number, or None where units or numbers cannot be compared."""
        values = [self._world.facts[number].value for number in (first, second)]
        units = {_NUMBER.sub("#", value) for value in values}
        found = [_NUMBER.findall(value) for value in values]
        if len(units) > 1 or any(len(numbers) != 1 for numbers in found):
            return None
        one, other = (float(numbers[0].replace(",", "")) for numbers in found)
        return None if one == other else (first if one > other else second)

    def _compared(self, first: int, second: int, larger: int) -> TrainingQuestion:
        relation = self._index.relation(first)
        names = self._index.entity(first), self._index.entity(second)
        question = dress(self._rng, ask_larger(self._rng, relation, *names))
        made = self._several(question, (first, second), "two")
        verdict = f", so that of {self._index.entity(larger)} is larger."
        parts = made.answer[:-1] if made.answer[-1] == "." else made.answer
        return replace(made, answer=(*parts, verdict), kind="compare")

    def another(self) -> tuple[tuple[str, str], ...]:
        """Return a turn about anything, for a question that does not lean on it."""
        other = self.single()
        if other is None or other.history:
            return ()
        return (("user", other.question), ("assistant", self._index.text(other.answer)))

    def follow_up(self) -> TrainingQuestion | None:
        """Ask a second question that leans on the first."""
        first = self._rng.randrange(len(self._world.facts))
        if not self._index.single(first):
            return None
        entity, relation = self._index.entity(first), self._index.relation(first)
        other_entity = self._rng.random() < 0.4
        others = self._index.by_relation[relation.id] if other_entity else self._index.own(entity)
        second = self._rng.choice(others)
        if not self._index.single(second):
            return None
        new, asked = self._index.entity(second), self._index.relation(second)
        if (new == entity) == other_entity or (asked.id == relation.id) != other_entity:
            return None
        history = (
            ("user", dress(self._rng, ask(self._rng, relation, entity, plain=True))),
            ("assistant", self._index.text(told(self._world.facts, (first,)))),
        )
        return TrainingQuestion(
            question=ask_again(self._rng, asked, new if other_entity else None),
            gold=(second,),
            answer=told(self._world.facts, (second,)),
            kind="follow_up",
            system=self._system(),
            history=history,
            near=self._index.near(self._rng, new, asked, (second,)),
            asked=self._index.asked((second,)),
        )
