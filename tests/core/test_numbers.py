"""The numbers that texts state."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kblam._numbers import number_in, numbers_in


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("17", "17"),
        ("48,200 euros", "48200"),
        ("$1,299.50", "1299.50"),
        ("about 17", "17"),
        ("12%", "12"),
        ("5 m", "5"),
        ("50 km/h", "50"),
        ("-12 °C", "-12"),
        ("\u221212 °C", "-12"),
        ("-$5", "-5"),
        ("$-5", "-5"),
        ("1.2 million", "1200000"),
        ("3 Billion dollars", "3000000000"),
        ("2.55 thousand", "2550"),
        ("1943-05-02", "1943"),
        ("2 May 1943", "1943"),
        ("May 2nd, 1943", "1943"),
        ("2.5.1943", "1943"),
        ("May 1943", "1943"),
    ],
)
def test_a_text_states_a_number(text: str, number: str) -> None:
    assert number_in(text) == number


@pytest.mark.parametrize(
    "text",
    [
        "",
        "slate grey",
        "three",
        "3 to 5 days",
        "2019-2020",
        "1.299,00",
        "204B",
        "A-12",
        "v1.2.3",
        "3/4",
        "10^6",
        "007",
        "+49 30 123",
        "12,34",
    ],
)
def test_a_text_states_none_or_several(text: str) -> None:
    assert number_in(text) is None


@given(st.decimals(-(10**9), 10**9, places=2), st.sampled_from(["", " kg", " euros"]))
def test_what_is_read_is_json_and_the_number(number: object, unit: str) -> None:
    written = number_in(f"{number:,}{unit}")
    assert written is not None
    assert json.loads(written) == float(str(number))


def test_all_numbers_of_a_text() -> None:
    assert numbers_in("3 of 1,200.5 in 2019") == {3.0, 1200.5, 2019.0}
