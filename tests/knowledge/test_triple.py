"""Triples: what is refused, and the texts that are embedded."""

from __future__ import annotations

import pickle
from datetime import date, datetime, time, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kblam.errors import FactError
from kblam.knowledge import Fact, Triple, as_triple, inverse


def test_texts_of_a_triple() -> None:
    triple = Triple("Acme", "foundedIn", "1998")
    assert triple.key_text == "the founded in of Acme"
    assert triple.value_text == "1998"
    assert triple.statement == "Acme was founded in 1998."


def test_texts_of_an_rdf_triple() -> None:
    triple = Triple(
        "http://example.org/Acme",
        "http://example.org/terms#hasFounder",
        "http://example.org/Ann_Lee",
    )
    assert triple.key_text == "the founder of Acme"
    assert triple.value_text == "Ann Lee"
    assert triple.statement == "The founder of Acme is Ann Lee."


def test_a_web_address_among_names_is_quoted_as_it_is() -> None:
    assert Triple("Acme", "site", "https://example.org/AboutUs").value_text.startswith("https:")


def test_a_property_that_ends_in_of_makes_a_sentence() -> None:
    assert Triple("Paris", "capital_of", "France").statement == "Paris is the capital of France."
    assert Triple("Paris", "isCapitalOf", "France").statement == "Paris is the capital of France."


def test_white_space_around_the_parts_is_removed() -> None:
    assert Triple(" Acme ", "\tfounder\n", " Ann ") == Triple("Acme", "founder", "Ann")


@pytest.mark.parametrize("part", ["entity", "property", "value"])
@pytest.mark.parametrize("bad", ["", "  \n", None, 7, "a\x00b", "half \ud800 pair"])
def test_a_bad_part_is_refused_by_name(part: str, bad: Any) -> None:
    parts = {"entity": "Acme", "property": "founder", "value": "Ann", part: bad}
    with pytest.raises(FactError, match=f"The {part} of a fact"):
        Triple(**parts)


@pytest.mark.parametrize(
    "metadata", [{"a": object()}, {"a": float("nan")}, {1: "a"}, ["a"], {"a": "\ud800"}]
)
def test_metadata_must_be_json(metadata: Any) -> None:
    with pytest.raises(FactError, match="metadata"):
        Triple("Acme", "founder", "Ann", metadata=metadata)


def test_metadata_is_a_copy() -> None:
    metadata = {"tags": ["a"]}
    triple = Triple("Acme", "founder", "Ann", metadata=metadata)
    metadata["tags"].append("b")
    assert triple.metadata == {"tags": ["a"]}


def test_triples_hash_compare_and_pickle() -> None:
    triple = Triple("Acme", "founder", "Ann", id="7", metadata={"source": "handbook"})
    assert len({triple, Triple("Acme", "founder", "Ann", id="7")}) == 2
    assert pickle.loads(pickle.dumps(triple)) == triple
    assert as_triple(triple.to_dict()) == triple


def test_a_fact_has_an_id() -> None:
    assert Fact("Acme", "founder", "Ann", "7").id == "7"
    assert isinstance(Fact("Acme", "founder", "Ann", "7"), Triple)
    with pytest.raises(FactError, match="The id of a fact"):
        Fact("Acme", "founder", "Ann")


def test_inverse() -> None:
    founded = Triple("Acme", "founder", "Ann", id="7", metadata={"source": "handbook"})
    back = inverse(founded)
    assert back == Triple("Ann", "founder of", "Acme", metadata={"source": "handbook"})
    assert inverse(back) == Triple("Acme", "founder", "Ann", metadata={"source": "handbook"})
    assert inverse(Triple("Paris", "isCapitalOf", "France")) == Triple("France", "capital", "Paris")


@pytest.mark.parametrize(
    "item",
    [
        ("Acme", "employees", "41"),
        ["Acme", "employees", 41],
        {"entity": "Acme", "property": "employees", "value": 41},
        {"value": "41", "property": "employees", "entity": "Acme", "id": None, "metadata": None},
    ],
)
def test_every_form_of_a_triple(item: Any) -> None:
    assert as_triple(item) == Triple("Acme", "employees", "41")


def test_other_keys_of_a_mapping_are_metadata() -> None:
    item = {"entity": "Acme", "property": "open", "value": True, "id": 7, "team": "red"}
    assert as_triple(item) == Triple("Acme", "open", "true", id="7", metadata={"team": "red"})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.int64(41), "41"),
        (np.float64(0.5), "0.5"),
        (np.bool_(True), "true"),
        (Decimal("6.80"), "6.80"),
        (Decimal("1E+3"), "1000"),
        (date(1968, 5, 3), "1968-05-03"),
        (datetime(2031, 3, 3, 9, 30), "2031-03-03 09:30:00"),
        (datetime(2031, 3, 3, 9, 30, tzinfo=timezone.utc), "2031-03-03 09:30:00+00:00"),
        (time(9, 30), "09:30:00"),
    ],
    ids=str,
)
def test_numbers_and_moments_are_taken_as_text(value: Any, text: str) -> None:
    assert as_triple(("Acme", "share", value)).value == text
    item = {"entity": value, "property": value, "value": value, "id": value}
    assert as_triple(item) == Triple(text, text, text, id=text)


class NotATime(datetime):
    """A moment that is none, as pandas writes a missing one."""

    def __eq__(self, other: object) -> bool:
        return False

    __hash__ = None  # type: ignore[assignment]


NOTHING = [float("nan"), np.float64("nan"), Decimal("NaN"), Decimal("sNaN"), NotATime(1, 1, 1)]


@pytest.mark.parametrize("nothing", NOTHING, ids=repr)
def test_what_says_nothing_is_no_fact(nothing: Any) -> None:
    row = {"entity": "Acme", "property": "founder", "value": "Ann"}
    for part in row:
        with pytest.raises(FactError, match=f"The {part} of a fact must say something, got"):
            as_triple({**row, part: nothing})
    with pytest.raises(FactError, match="The value of a fact must say something"):
        as_triple(("Acme", "founder", nothing))
    assert as_triple({**row, "id": nothing}) == Triple("Acme", "founder", "Ann")


@pytest.mark.parametrize("length", [np.timedelta64(5, "D"), 1 + 2j])
def test_what_has_no_text_of_its_own_is_refused(length: Any) -> None:
    with pytest.raises(FactError, match="The value of a fact must be a string, got"):
        as_triple(("Acme", "rest", length))


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (("Acme", "founder"), "2 parts"),
        ({"entity": "Acme", "value": "Ann"}, "property missing"),
        ("Acme founder Ann", "got str"),
        (("Acme", "founder", None), "The value of a fact must be a string, got NoneType"),
        (7, "got int"),
    ],
)
def test_what_is_no_triple(item: Any, message: str) -> None:
    with pytest.raises(FactError, match=message):
        as_triple(item)


parts = st.text(
    st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=20
).filter(lambda text: text.strip())


@given(parts, parts, parts)
def test_texts_name_their_parts(entity: str, name: str, value: str) -> None:
    triple = Triple(entity, name, value)
    assert triple.key_text == f"the {triple.property_text} of {triple.entity_text}"
    assert triple.value_text in triple.statement
    assert all(text.strip() for text in (triple.key_text, triple.value_text, triple.statement))
