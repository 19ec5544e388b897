"""Requests for whatever is known of an entity, with the bundled adapter."""

from __future__ import annotations

import pytest

from kblam import KBLaM

FACTS = [
    ("Aurora", "launch code", "QX-7719"),
    ("Aurora", "project lead", "Mirela Osei"),
    ("Borealis", "project lead", "Tomas Lindqvist"),
    ("Borealis", "site", "Faro"),
    ("Ann Lee", "born", "1970-03-02"),
]


@pytest.fixture(scope="module")
def model() -> KBLaM:
    return KBLaM.from_pretrained().attach(FACTS)


@pytest.mark.parametrize(
    "request_", ["Tell me about Aurora.", "Describe Aurora.", "What do you know about Aurora?"]
)
def test_all_that_is_known_is_told(model: KBLaM, request_: str) -> None:
    answer = model.ask(request_)
    assert "launch code of Aurora is QX-7719" in answer.text
    assert "project lead of Aurora is Mirela Osei" in answer.text
    told = {(one.fact.entity, one.fact.property) for one in answer.citations}
    assert told == {("Aurora", "launch code"), ("Aurora", "project lead")}


def test_a_property_that_is_named_is_what_is_asked_for(model: KBLaM) -> None:
    assert model.ask("What do you know about the population of Aurora?").refused
    answer = model.ask("Tell me about the site of Borealis.")
    assert [one.fact.value for one in answer.citations] == ["Faro"]


def test_nothing_of_others_is_told_of_a_stranger(model: KBLaM) -> None:
    answer = model.ask("Tell me about Zeta.")
    assert not answer.citations
    assert not any(value in answer.text for _, _, value in FACTS)
