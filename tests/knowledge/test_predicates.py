"""Properties that are verbs: how a sentence says them, and which are none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kblam.knowledge import Triple


def verb(name: str) -> str | None:
    return Triple("Ann", name, "Acme").verb_text


@pytest.mark.parametrize(
    ("name", "phrase"),
    [
        ("WORKS_AT", "works at"),
        ("livesIn", "lives in"),
        ("depends on", "depends on"),
        ("OWNS", "owns"),
        ("LED_BY", "is led by"),
        ("treats", "treats"),
        ("plays_instrument", "plays instrument"),
        ("FOUNDED_BY", "was founded by"),
        ("founded_in", "was founded in"),
        ("locatedIn", "is located in"),
        ("isLocatedIn", "is located in"),
        ("married_to", "is married to"),
        ("Owned by", "is owned by"),
        ("first_described_by", "was first described by"),
        ("led by CEO", "is led by CEO"),
        ("born", "was born"),
        ("written", "was written"),
        ("also called", "is also called"),
        ("first_released", "was first released"),
        ("first appeared", "first appeared"),
        ("made_of", "is made of"),
        ("studied_at", "studied at"),
        ("opened_in", "opened in"),
        ("opened_by", "was opened by"),
        ("died_of", "died of"),
        ("wrote", "wrote"),
        ("FOUNDED", "founded"),
        ("took_place_on", "took place on"),
        ("capital_of", "is the capital of"),
        ("isCapitalOf", "is the capital of"),
        ("member_of", "is a member of"),
        ("employeeOf", "is an employee of"),
        ("part_of", "is part of"),
        ("member_of_party", "is a member of party"),
        ("allergic_to", "is allergic to"),
        ("in_constellation", "is in constellation"),
        ("http://example.org/terms#bornIn", "was born in"),
    ],
)
def test_verbs_stand_between_entity_and_value(name: str, phrase: str) -> None:
    triple = Triple("Ann", name, "Acme")
    assert triple.verb_text == triple.named_text == phrase
    assert triple.statement == f"Ann {phrase} Acme."


@pytest.mark.parametrize(
    "name",
    [
        "founder", "place of birth", "date of birth", "number of employees", "headquarters",
        "status", "address", "CEO", "has_capital", "hasSideEffect", "releases", "stars", "speed",
        "seed", "native language", "known names", "lead singer", "is", "has", "of", "P31", "works",
        "first cast", "last run", "first seed", "children",
        "head of state", "built area", "music by", "_", "prénom usuel", "42",
    ],
)  # fmt: skip
def test_nouns_are_no_verbs(name: str) -> None:
    triple = Triple("Ann", name, "Acme")
    assert triple.verb_text is None
    assert triple.named_text == triple.property_text
    assert triple.statement == f"The {triple.property_text} of Ann is Acme."


@given(st.text(min_size=1).filter(str.strip))
def test_a_phrase_holds_the_words_of_its_property(name: str) -> None:
    try:
        triple = Triple("Ann", name, "Acme")
    except ValueError:
        return
    if triple.verb_text is not None:
        said, words = triple.verb_text.lower(), triple.property_text.lower().split()
        assert all(word in said for word in words if word != "is")
