"""Ways of asking for every relation, and which other relations do not answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from kblam.training.data._asking import ask, ask_again, ask_two, dress
from kblam.training.data._overview import ask_overview
from kblam.training.data._tables import Relation
from kblam.training.data._templates import fill, make_name
from kblam.training.data.world import relations_by_kind

__all__ = ["Asking", "StoredForms", "generate_askings"]

_TWO = 0.12
_AGAIN = 0.06
_MANY = 0.2


@dataclass(frozen=True)
class Asking:
    """A question of which it is known what it asks for.

    Attributes:
        question: The text.
        names: The entities in it.
        wanted: The relations that answer it, by id; all of the kind if no property is named.
        others: Relations of the same kind of entity that tell nothing of it.
    """

    question: str
    names: tuple[str, ...]
    wanted: tuple[str, ...]
    others: tuple[str, ...]


@dataclass(frozen=True)
class StoredForms:
    """The forms in which stores have a relation.

    Attributes:
        names: Its names there, the usual one first.
        values: Some of the values that it may have.
    """

    names: tuple[str, ...]
    values: tuple[str, ...]


def generate_askings(seed: int, each: int) -> tuple[list[Asking], Mapping[str, StoredForms]]:
    """Ask for every relation that training may use.

    Args:
        seed: The seed of all choices.
        each: Questions for each relation, and values; those alike count once.

    Returns:
        The questions, and the forms in which stores have each relation, by id.
    """
    rng = Random(f"askings-{seed}")
    kinds = {kind: list(found) for kind, found in relations_by_kind("train").items()}
    for relation in [one for found in kinds.values() for one in found]:
        if relation.value_kind in kinds:
            kinds[relation.value_kind].append(relation.turned_round())
    askings = [
        asking
        for kind, relations in kinds.items()
        for relation in relations
        for asking in _of(rng, kind, relation, relations, each)
    ]
    rng = Random(f"overviews-{seed}")
    for kind, relations in kinds.items():
        askings += _overviews(rng, kind, relations, each)
    rng = Random(f"values-{seed}")
    stored = {one.id: _forms(rng, one, each) for relations in kinds.values() for one in relations}
    return askings, stored


def _overviews(rng: Random, kind: str, relations: list[Relation], each: int) -> list[Asking]:
    ids = tuple(relation.id for relation in relations)
    names = [make_name(rng, kind).strip() for _ in range(each)]
    return [
        Asking(dress(rng, ask_overview(rng, {name: relations[0]})), (name,), ids, ())
        for name in names
    ]


def _forms(rng: Random, relation: Relation, each: int) -> StoredForms:
    entity = make_name(rng, relation.kind).strip()
    values = dict.fromkeys(fill(rng, relation.value, entity) for _ in range(each))
    return StoredForms(relation.stored, tuple(values))


def _of(
    rng: Random, kind: str, relation: Relation, relations: list[Relation], each: int
) -> list[Asking]:
    found: dict[tuple[str, tuple[str, ...]], Asking] = {}
    for _ in range(each):
        name = make_name(rng, kind).strip()
        wanted: tuple[Relation, ...] = (relation,)
        form = rng.random()
        second = rng.choice(relations)
        if relation.inverse or form > _TWO + _AGAIN:
            question = ask(rng, relation, name, many=rng.random() < _MANY)
        elif form < _AGAIN:
            question = ask_again(rng, relation, None)
        elif second.inverse or second.overlaps(relation):
            continue
        else:
            wanted = (relation, second)
            question = ask_two(rng, (relation, name), (second, name))
        others = tuple(
            dict.fromkeys(
                other.id
                for other in relations
                if not any(other.id == one.id or other.overlaps(one) for one in wanted)
            )
        )
        if others:
            ids = tuple(one.id for one in wanted)
            found[question, ids] = Asking(dress(rng, question), (name,), ids, others)
    return list(found.values())
