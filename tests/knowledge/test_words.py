"""Names become words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kblam.knowledge import term_words, value_words, verbalise


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("founded_in", "founded in"),
        ("foundedIn", "founded in"),
        ("FoundedIn", "founded in"),
        ("FOUNDED_IN", "founded in"),
        ("founded in", "founded in"),
        ("  founded   in ", "founded in"),
        ("ex:founded-in", "founded in"),
        ("http://example.org/terms#foundedIn", "founded in"),
        ("http://example.org/terms/founded-in", "founded in"),
        ("http://example.org/terms/founded%20in", "founded in"),
        ("urn:example:foundedIn", "founded in"),
        ("date-of-birth", "date of birth"),
        ("co-founder", "co-founder"),
        ("CEO", "CEO"),
        ("CEOs", "CEOs"),
        ("ISBNNumber", "ISBN number"),
        ("isoCode2", "iso code2"),
        ("LOCATION", "location"),
        ("P31", "P31"),
        ("prénomUsuel", "prénom usuel"),
        ("Élu_par", "élu par"),
        ("_", "_"),
    ],
)
def test_property_names_become_words(name: str, words: str) -> None:
    assert verbalise(name) == words


@pytest.mark.parametrize(
    ("term", "words"),
    [
        ("http://example.org/Monell_Chemical_Senses_Center", "Monell Chemical Senses Center"),
        ("http://example.org/JohnSmith", "John Smith"),
        ("http://example.org/McDonalds", "McDonalds"),
        ("http://example.org/S%C3%A3o_Paulo", "São Paulo"),
        ("http://www.wikidata.org/entity/Q42", "Q42"),
        ("http://example.org/", "example.org"),
        ("urn:isbn:9780140328721", "9780140328721"),
        ("mailto:a_b@example.org", "a_b@example.org"),
        ("snake_case stays", "snake_case stays"),
        ("Re:Zero", "Re:Zero"),
        ("12:30", "12:30"),
        ("iPhone", "iPhone"),
    ],
)
def test_only_iris_of_things_become_words(term: str, words: str) -> None:
    assert term_words(term) == words


def test_a_web_address_is_a_literal() -> None:
    address = "https://example.org/AboutUs"
    assert value_words("http://xmlns.com/foaf/0.1/homepage", address) == address
    assert value_words("http://xmlns.com/foaf/0.1/maker", address) == "About Us"


names = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1).filter(
    lambda text: text.strip()
)
iris = st.from_regex(r"(http://e\.org/|urn:e:|e:)[A-Za-z0-9_./#-]{0,12}", fullmatch=True)
identifiers = st.from_regex(r"[a-z]{1,8}([A-Z][a-z]{1,8}|_[a-z]{1,8}){0,4}", fullmatch=True)


@given(names | iris)
def test_verbalising_twice_changes_nothing(name: str) -> None:
    words = verbalise(name)
    assert verbalise(words) == words


@given(names | iris)
def test_words_are_never_empty_and_evenly_spaced(name: str) -> None:
    words = verbalise(name)
    assert words
    assert words == " ".join(words.split())


@given(identifiers)
def test_no_letter_is_lost(name: str) -> None:
    assert verbalise(name).replace(" ", "") == name.replace("_", "").lower()


@given(identifiers)
def test_the_style_of_a_name_does_not_matter(name: str) -> None:
    words = verbalise(name)
    snake = words.replace(" ", "_")
    assert verbalise(snake) == words
    assert verbalise(f"http://example.org/terms#{snake}") == words
    assert verbalise(f"ex:{snake.replace('_', '-')}") == words


@given(st.text(min_size=1))
def test_literals_stay_as_they_are(text: str) -> None:
    if "://" not in text and not text.startswith(("urn:", "mailto:")):
        assert term_words(text) == text
