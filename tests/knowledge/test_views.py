"""Views pass exactly what their conditions say."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kblam.errors import FactError
from kblam.knowledge import KnowledgeStore, Triple, View


@pytest.fixture
def staff(store: KnowledgeStore) -> KnowledgeStore:
    rows = [
        ("Ann", "salary", "70", {"team": "red", "level": 3, "readers": ["hr", "ceo"]}),
        ("Ann", "phone", "123", {"team": "red", "level": 1, "open": True}),
        ("Bo", "salary", "50", {"team": "blue", "level": 2, "readers": ["hr"]}),
        ("Bo", "phone", "456", {"team": None}),
        ("Cid", "phone", "789", {}),
    ]
    store.add(Triple(e, p, v, metadata=m) for e, p, v, m in rows)
    return store


def values(store: KnowledgeStore, view: View) -> list[str]:
    found = [fact.value for fact in store.facts(view)]
    assert store.count(view) == len(found)
    assert [fact.value for fact in store.search(view=view)] == found
    return found


def test_views_by_columns_and_metadata(staff: KnowledgeStore) -> None:
    assert values(staff, staff.view()) == ["70", "123", "50", "456", "789"]
    assert values(staff, staff.view(entity="Ann")) == ["70", "123"]
    assert values(staff, staff.view(entity=["Bo", "Cid"], property="phone")) == ["456", "789"]
    assert values(staff, staff.view(team="red")) == ["70", "123"]
    assert values(staff, staff.view(team=["red", "blue"], level=[2, 3])) == ["70", "50"]
    assert values(staff, staff.view(readers="ceo")) == ["70"]
    assert values(staff, staff.view(readers=["ceo", "hr"])) == ["70", "50"]
    assert values(staff, staff.view(team=None)) == ["456"]
    assert values(staff, staff.view(open=True)) == ["123"]
    assert values(staff, staff.view(where={"team": "blue"})) == ["50"]
    assert values(staff, staff.view(team=[])) == []
    assert values(staff, staff.view(entity=[])) == []


@pytest.mark.parametrize(
    "condition",
    ["' OR 1=1 --", '"', "%", "red' --", '["red"]', "$.team", "3", "\u2028", "${team}", "RED"],
)
def test_a_condition_is_never_more_than_a_value(staff: KnowledgeStore, condition: str) -> None:
    assert values(staff, staff.view(team=condition)) == []
    assert values(staff, staff.view(where={condition: "red"})) == []
    assert values(staff, staff.view(entity=condition)) == []
    assert values(staff, staff.view(level=condition)) == []


def test_both_views_at_once(staff: KnowledgeStore) -> None:
    red, high = staff.view(team="red"), staff.view(level=[2, 3])
    assert values(staff, red & high) == ["70"]
    assert values(staff, red & staff.view(team="blue")) == []
    ann, bo = staff.view(entity="Ann"), staff.view(entity="Bo")
    assert values(staff, ann & bo) == []
    assert values(staff, ann & staff.view(entity=["Ann", "Bo"], property="phone")) == ["123"]


def test_views_are_values(staff: KnowledgeStore) -> None:
    view = staff.view(entity=["Bo", "Ann"], team="red")
    assert view == staff.view(entity=["Ann", "Bo"], where={"team": "red"})
    assert len({view, staff.view(team="red", entity=["Ann", "Bo"])}) == 1
    assert View.from_dict(json.loads(json.dumps(view.to_dict()))) == view


@pytest.mark.parametrize("condition", [{"a": 1}, b"red", [["red"]], object()])
def test_a_condition_must_be_a_value(staff: KnowledgeStore, condition: Any) -> None:
    with pytest.raises(FactError, match="A view's filter must be"):
        staff.view(team=condition)


@pytest.mark.parametrize("number", [2**63, 2**63 + 1, -(2**63) - 1, 10**400])
def test_a_number_that_is_rounded_is_none_that_is_wanted(number: int) -> None:
    level = {"level": number, "levels": [7, number]}
    with KnowledgeStore.from_source([Triple("e", "p", "v", metadata=level)]) as store:
        (fact,) = store
        for wanted in (2.0**63, -(2.0**63), 1.7976931348623157e308):
            for view in (store.view(level=wanted), store.view(levels=[wanted, 8])):
                assert not view.shows(fact)
                assert not store.count(view)
        assert store.view(levels=7).shows(fact)
        assert store.count(store.view(levels=7)) == 1


@pytest.mark.parametrize("number", [2**63 - 1, -(2**63), 2.0**63, 2**53 + 1])
def test_large_numbers_are_compared_exactly(number: float) -> None:
    with KnowledgeStore.from_source([Triple("e", "p", "v", metadata={"level": number})]) as store:
        (fact,) = store
        for wanted in (2**63 - 1, 2.0**63, -(2**63), -(2.0**63), 2.0**53):
            view = store.view(level=wanted)
            assert view.shows(fact) == (number == wanted) == bool(store.count(view))


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.sampled_from([0.5, 1.0]),
    st.sampled_from(["", "1", "true", "a", "A", "[]", "é", '"']),
)
keys = st.sampled_from(["k", "k.k", "$.k", "é", "entity"])
metadata = st.dictionaries(
    keys, st.one_of(scalars, st.lists(scalars, max_size=3), st.just({"k": "a"})), max_size=3
)
conditions = st.dictionaries(keys, st.one_of(scalars, st.lists(scalars, max_size=3)), max_size=2)


def passes(own: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Say in Python what a view's SQL says: Python too takes True for 1 and 1.0 for 1."""
    for name, choice in wanted.items():
        choices = choice if isinstance(choice, list) else [choice]
        if name not in own or isinstance(own[name], dict):
            return False
        has = own[name] if isinstance(own[name], list) else [own[name]]
        if not any(item in choices for item in has):
            return False
    return True


@given(st.lists(metadata, min_size=1, max_size=8), conditions)
def test_the_filter_is_exact(owned: list[dict[str, Any]], wanted: dict[str, Any]) -> None:
    with KnowledgeStore() as store:
        store.add(Triple("e", "p", str(i), metadata=own) for i, own in enumerate(owned))
        found = [int(fact.value) for fact in store.facts(store.view(where=wanted))]
    assert found == [i for i, own in enumerate(owned) if passes(own, wanted)]
