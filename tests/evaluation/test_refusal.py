from __future__ import annotations

import pytest

from kblam.config import DEFAULT_REFUSAL
from kblam.evaluation.refusal import (
    REFUSAL_OPENINGS,
    REFUSAL_PHRASES,
    REFUSAL_WORDS,
    is_refusal,
)


@pytest.mark.parametrize(
    "reply",
    [
        DEFAULT_REFUSAL,
        DEFAULT_REFUSAL.upper() + " Ask me something else.",
        "I'm sorry, but I can't find that in the facts.",
        "I don\u2019t know who that is.",
        "The facts do not mention the mother of Ada Lovelace.",
        "The context doesn't provide a birth date.",
        "Her mother is not mentioned in the text.",
        "Unfortunately, nobody says.",
        '"Unknown."',
        '"Unknown".',
        "Unknown (the facts are silent)",
        "unknown",
        "No answer",
        "No information is available.",
        "There's no information about her.",
        "There\u2019s no mention of it.",
        "It's not known.",
        "Sorry, nobody says.",
        "Sorry but nobody says.",
        "Unfortunately I cannot say.",
        "Unfortunately there are none.",
    ],
)
def test_refusals_are_recognised(reply: str) -> None:
    assert is_refusal(reply, DEFAULT_REFUSAL)


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "Her father is Lord Byron.",
        "The author of I Am Sorry is Unknown Mortal Orchestra.",
        "Lord Byron. I do not know her mother.",  # answers first
        "The relevant information is in the knowledge base.",
        "His best known song is Sorry.",
        "Unknown Pleasures is the album.",
        "Sorry Day is on 26 May.",
        "Unfortunately for Bob is the title.",
        "No Information Inc. is the owner.",
        "No Answers is the song.",
    ],
)
def test_answers_are_no_refusals(reply: str) -> None:
    assert not is_refusal(reply, DEFAULT_REFUSAL)


def test_a_sentence_of_ones_own_and_the_models_flag_count() -> None:
    assert is_refusal("Das weiß ich leider nicht!", "Das weiß ich leider nicht.")
    assert not is_refusal("Das weiß ich leider nicht!")
    assert is_refusal("Nobody can tell.", flagged=True)


def test_the_lists_are_sorted_and_without_duplicates() -> None:
    for listed in (REFUSAL_OPENINGS, REFUSAL_PHRASES, REFUSAL_WORDS, *REFUSAL_WORDS.values()):
        assert list(listed) == sorted(set(listed))
