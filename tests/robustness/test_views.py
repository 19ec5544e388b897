"""Views made of nonsense: an error, or what they say, and never more than that."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from malformed import PLANNED, attempt, judge, many, nonsense

from kblam.errors import KBLaMError
from kblam.knowledge import Fact, KnowledgeStore, View

FACTS = [
    {"entity": "Aurora", "property": "launch code", "value": "QX-7719", "metadata": {"team": "a"}},
    {"entity": "Aurora", "property": "lead", "value": "Mirela", "metadata": {"team": ["a", "b"]}},
    {"entity": "Borealis", "property": "lead", "value": "Tomas", "metadata": {"level": 3}},
    {"entity": "7", "property": "open", "value": "true", "metadata": {"open": True, "none": None}},
]


@pytest.fixture(scope="module")
def store() -> Iterator[KnowledgeStore]:
    with KnowledgeStore.from_source(FACTS) as store:
        yield store


def allowed(fact: Fact, view: View) -> bool:
    """Tell, by other means than the store's, whether a fact passes."""

    def equal(own: Any, choice: Any) -> bool:
        # As SQLite sees JSON: a boolean is a number, no number is text.
        return own == choice and isinstance(own, str) == isinstance(choice, str)

    def holds(key: str, choices: tuple[Any, ...]) -> bool:
        if key not in fact.metadata:
            return False
        own = fact.metadata[key]
        items = own if isinstance(own, list) else [own]
        return any(equal(item, choice) for item in items for choice in choices)

    return (
        (view.entities is None or fact.entity in view.entities)
        and (view.properties is None or fact.property in view.properties)
        and all(holds(key, choices) for key, choices in view.metadata)
    )


def bad_view(chance: random.Random) -> Any:
    """The JSON form of a view with something wrong in it, or something else altogether."""
    names = chance.choice([None, ["Aurora"], "Aurora", [], [7], nonsense(chance)])
    nothing = chance.choice([float("nan"), float("inf"), None, True, [], {}])
    filters = chance.choice(
        [[], [["team", ["a"]]], [["team", "a"]], {"team": "a"}, [["team"]], [["none", [nothing]]]]
    )
    data: Any = {
        chance.choice([*["entities"] * 5, "entity"]): names,
        "properties": chance.choice([None, None, ["lead"], nonsense(chance)]),
        chance.choice([*["metadata"] * 5, "where"]): chance.choice(
            [filters, filters, nonsense(chance)]
        ),
    }
    return data if chance.random() < 0.8 else nonsense(chance)


def test_views(store: KnowledgeStore) -> None:
    def use(view: View) -> set[str]:
        found = {fact.id for fact in store.facts(view)}
        assert store.count(view) == len(found)
        assert {fact.id for fact in store.search(view=view)} == found
        assert not found or store.vectors("none", view) is not None
        assert use_again(view) == found
        return found

    def use_again(view: View) -> set[str]:
        return {fact.id for fact in store.facts(View.from_dict(view.to_dict()))}

    def check(given: Any) -> None:
        options = given if isinstance(given, dict) else {"metadata": given}
        makers = (
            lambda: View.from_dict(given),
            lambda: store.view(entity=given),
            lambda: store.view(property=given, team="a"),
            lambda: store.view(team=given),
            lambda: store.view(where=options.get("metadata", options)),
        )
        for number, make in enumerate(makers):
            view = attempt(make)
            if isinstance(view, KBLaMError):
                continue
            found = attempt(lambda view=view: use(view))
            if not isinstance(found, KBLaMError):
                assert found == {fact.id for fact in store if allowed(fact, view)}
            if number == 0:
                # What does not say that it is everything is not.
                assert set(given) <= {"entities", "properties", "metadata"}
                for mine, said in ((view.entities, "entities"), (view.properties, "properties")):
                    assert mine is not None or given.get(said) is None
                assert view.metadata or not given.get("metadata")

    judge("views", many(PLANNED["views"], bad_view), check)
