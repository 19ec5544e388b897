"""Questions that no fact of the world answers, though some look as if they did."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from kblam.training.data._asking import BRIEF_SUFFIXES, PEOPLE, SYSTEMS, ask, ask_again, dress
from kblam.training.data._index import TrainingQuestion, WorldIndex
from kblam.training.data._sentences import told
from kblam.training.data._tables import Relation
from kblam.training.data._templates import make_name, variant
from kblam.training.data.world import is_validation_name, relations_by_kind

__all__ = ["Unanswerable"]

_BRIEF = 0.06
_SYSTEM = 0.2
_FOLLOW_UP = 0.04
_TRIES = 20
#: How much likelier a property of the same type of value is asked for: mother for father.
_SAME_TYPE = 8.0


class Unanswerable:
    """Makes questions without an answer; each method returns None where it finds none."""

    def __init__(self, index: WorldIndex, rng: Random) -> None:
        self._index = index
        self._world = index.world
        self._rng = rng
        self._entities = tuple(self._world.by_entity)
        self._taken = {name.lower() for name in self._entities}
        self._known = relations_by_kind(self._world.split)

    def other_property(self) -> TrainingQuestion | None:
        """Ask a known entity for a property that is not there, near to one that is."""
        entity = self._rng.choice(self._entities)
        if entity.lower() in self._world.values:
            # Some other fact says something about it: the answer might follow from that.
            return None
        stored = [self._index.relation(number) for number in self._index.own(entity)]
        types = {_sort(relation) for relation in stored}
        missing = [
            relation
            for relation in self._known[self._world.entity_kinds[entity]]
            if not relation.sums_up
            and not relation.named
            and not any(relation.overlaps(other) for other in stored)
        ]
        if not missing:
            return None
        weights = [_SAME_TYPE if _sort(relation) in types else 1.0 for relation in missing]
        relation = self._rng.choices(missing, weights=weights)[0]
        near = self._index.near(self._rng, entity, relation, ())
        if self._rng.random() < _FOLLOW_UP and not stored[0].inverse:
            return self._follow_up(entity, relation, near)
        return self._made(entity, relation, near)

    def similar_name(self) -> TrainingQuestion | None:
        """Ask for a property that is there for similar names, not for this one."""
        number = self._rng.randrange(len(self._world.facts))
        entity, relation = self._index.entity(number), self._index.relation(number)
        kind = self._world.entity_kinds[entity]
        return self._of_unknown(relation, lambda: variant(self._rng, kind, entity), (number,))

    def unknown_name(self) -> TrainingQuestion | None:
        """Ask about an entity of which nothing is there."""
        relation = self._rng.choice(self._world.relations)
        return self._of_unknown(relation, lambda: make_name(self._rng, relation.kind), ())

    def _of_unknown(
        self, relation: Relation, make: Callable[[], str], tempting: tuple[int, ...]
    ) -> TrainingQuestion | None:
        if relation.sums_up or relation.named:
            return None
        for _ in range(_TRIES):
            name = make()
            known = name.lower() in self._taken or name.lower() in self._world.values
            if not known and is_validation_name(name) == (self._world.split == "validation"):
                near = (*tempting, *self._index.near(self._rng, name, relation, ()))
                return self._made(name, relation, tuple(dict.fromkeys(near)))
        return None

    def _made(self, entity: str, relation: Relation, near: tuple[int, ...]) -> TrainingQuestion:
        question = ask(self._rng, relation, entity)
        if self._rng.random() < _BRIEF:
            question += self._rng.choice(BRIEF_SUFFIXES)
        else:
            question = dress(self._rng, question)
        return self._refused(question, near, (entity, relation.id))

    def _follow_up(
        self, entity: str, relation: Relation, near: tuple[int, ...]
    ) -> TrainingQuestion | None:
        """Ask for the missing property after one that is there."""
        first = self._index.own(entity)[0]
        gold = self._world.matching(entity, self._index.relation(first))
        asked = ask(self._rng, self._index.relation(first), entity, plain=True, many=len(gold) > 1)
        history = (
            ("user", asked),
            ("assistant", self._index.text(told(self._world.facts, gold))),
        )
        question = ask_again(self._rng, relation, None)
        return self._refused(question, near, (entity, relation.id), history)

    def _refused(
        self,
        question: str,
        near: tuple[int, ...],
        asked: tuple[str, str],
        history: tuple[tuple[str, str], ...] = (),
    ) -> TrainingQuestion:
        return TrainingQuestion(
            question=question,
            gold=(),
            answer=(),
            kind="unanswerable",
            system=self._rng.choice(SYSTEMS) if self._rng.random() < _SYSTEM else None,
            history=history,
            near=near,
            asked=(asked,),
        )


def _sort(relation: Relation) -> str:
    """What its values are, people of either sex being alike."""
    return "person" if relation.value_type in PEOPLE else relation.value_type
