from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kblam._questions import fold
from kblam.evaluation.metrics import (
    contains,
    exact_match,
    normalise,
    recall_at,
    token_f1,
    value_once,
)

texts = st.text(max_size=40)
words = st.text("abcdefghij klmno", min_size=1, max_size=30).filter(lambda t: t.strip() != "")


@pytest.mark.parametrize(
    ("text", "normalised"),
    [
        ("The  Eiffel Tower!", "eiffel tower"),
        ("a man, an apple, the end.", "man apple end"),
        ("O\u2019Brien", "obrien"),
        ("Straße", "strasse"),
        ("\uff11\uff12\uff13", "123"),
        ("The The", "the the"),  # nothing but articles: they stay
        ("A", "a"),
        ("???", "???"),  # nothing but punctuation: it stays
        ("theatre", "theatre"),
        ("$48,200 | `a+b` <= c^2 ~", "48200 ab c2"),  # punctuation to SQuAD, if not to Unicode
        ("\u20ac5", "\u20ac5"),  # another currency is another answer
        ("", ""),
    ],
)
def test_normalise_by_hand(text: str, normalised: str) -> None:
    assert normalise(text) == normalised


@given(texts)
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert fold(fold(text)) == fold(text)
    assert normalise(fold(text)) == normalise(text)


@pytest.mark.parametrize(
    ("reply", "answers", "right"),
    [
        ("The Beatles.", ["beatles"], True),
        ("Paris", ["London", "PARIS!"], True),
        ("$48,200", ["48,200"], True),
        ("It is Paris", ["Paris"], False),
        ("Paris", [], False),
        ("", ["Paris"], False),
    ],
)
def test_exact_match_by_hand(reply: str, answers: list[str], right: bool) -> None:
    assert exact_match(reply, answers) is right


@pytest.mark.parametrize(
    ("reply", "answers", "right"),
    [
        ("The mayor of Oslo is  anne\nLINDBOE.", ["Anne Lindboe"], True),
        ("He was born in 1938", ["1943", "1938"], True),
        ("He was born in 1938", ["1943"], False),
        ("O'Brien runs it", ["O\u2019Brien"], True),
        ("a well-known place", ["Well known"], False),  # only case, spaces and quotes are evened
        ("anything", [], False),
    ],
)
def test_contains_by_hand(reply: str, answers: list[str], right: bool) -> None:
    assert contains(reply, answers) is right


@given(words, words, words)
def test_a_reply_around_an_answer_contains_it(before: str, answer: str, after: str) -> None:
    assert contains(f"{before} {answer.upper()} {after}", [answer])


def test_value_once_wants_the_very_letters_and_no_stutter() -> None:
    assert value_once("The symbol of gold is Au.", ["Au"])
    assert not value_once("The symbol of gold is AU.", ["Au"])
    assert not value_once("Paris Paris", ["Paris"])
    assert value_once("Spanish and Quechua", ["Aymara", "Quechua"])


@pytest.mark.parametrize(
    ("reply", "answers", "expected"),
    [
        ("Herman Melville", ["Herman Melville"], 1.0),
        # author of moby dick is herman melville: 2 of 7 tokens, and 2 of 2 of the answer.
        ("The author of Moby Dick is Herman Melville.", ["Herman Melville"], 2 * 2 / (7 + 2)),
        ("new new york", ["new york"], 2 * 2 / (3 + 2)),
        ("Paris", ["London"], 0.0),
        ("Paris", ["London town", "Paris France"], 2 / 3),
        ("", ["London"], 0.0),
        ("Paris", [], 0.0),
    ],
)
def test_token_f1_by_hand(reply: str, answers: list[str], expected: float) -> None:
    assert token_f1(reply, answers) == pytest.approx(expected)


@given(words, st.lists(words, min_size=1, max_size=4))
def test_the_measures_agree(reply: str, answers: list[str]) -> None:
    f1 = token_f1(reply, answers)
    assert 0.0 <= f1 <= 1.0
    assert f1 == pytest.approx(token_f1(reply, answers[::-1]))
    if exact_match(reply, answers):
        assert f1 == pytest.approx(1.0)
    if value_once(reply, answers):
        assert contains(reply, answers)


def test_recall_counts_places_from_one() -> None:
    assert [recall_at(rank, 1) for rank in (1, 2, None)] == [True, False, False]
    assert [recall_at(rank, 5) for rank in (1, 5, 6, None)] == [True, True, False, False]
