"""Pieces of texts as tokens, with tokenizers that begin texts with a space and with others."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_tokenizers import PLAIN, SIGNS, SPACED
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from kblam._vocabulary import Vocabulary
from kblam.errors import ConfigError

words = st.text(st.sampled_from(SIGNS), min_size=1, max_size=8)
# As a piece of an answer begins: with a space, or right behind what was written before.
pieces = st.lists(words, min_size=1, max_size=5)


def vocabulary_of(tokenizer: Any) -> Vocabulary:
    return Vocabulary(tokenizer, len(tokenizer), [tokenizer.eos_token_id], torch.device("cpu"))


@pytest.fixture(scope="module", params=[*SPACED, *PLAIN])
def tokenizer(request: pytest.FixtureRequest) -> Any:
    return {**SPACED, **PLAIN}[request.param]()


@pytest.fixture(scope="module")
def vocabulary(tokenizer: Any) -> Vocabulary:
    return vocabulary_of(tokenizer)


@settings(max_examples=60, deadline=None)
@given(pieces=pieces)
def test_pieces_joined_say_the_text(
    tokenizer: Any, vocabulary: Vocabulary, pieces: list[str]
) -> None:
    pieces[0] = "It is" + pieces[0]
    tokens = vocabulary.at_start(pieces[0])
    for piece in pieces[1:]:
        tokens += vocabulary.behind(piece)
    assert tokenizer.decode(tokens) == "".join(pieces)


@settings(max_examples=30, deadline=None)
@given(pieces=pieces)
def test_several_at_once_are_as_one_by_one(
    tokenizer: Any, vocabulary: Vocabulary, pieces: list[str]
) -> None:
    texts = [*pieces, "", f"press {tokenizer.eos_token} and wait", f" {pieces[0]}"]
    assert vocabulary.behind_each(texts) == [vocabulary.behind(text) for text in texts]
    assert vocabulary.behind_each([]) == []


@settings(max_examples=30, deadline=None)
@given(text=words)
def test_a_text_alone_says_the_same(tokenizer: Any, vocabulary: Vocabulary, text: str) -> None:
    text = text.strip() or "Acme"
    assert tokenizer.decode(vocabulary.at_start(text)) == text
    assert tokenizer.decode(vocabulary.behind(text)) == text


def test_nothing_is_no_token(vocabulary: Vocabulary) -> None:
    assert vocabulary.behind("") == vocabulary.at_start("") == []


@pytest.mark.parametrize("name", PLAIN)
def test_a_tokenizer_that_adds_no_space_encodes_as_ever(name: str) -> None:
    tokenizer = PLAIN[name]()
    vocabulary = vocabulary_of(tokenizer)

    @settings(max_examples=60, deadline=None)
    @given(text=words)
    def check(text: str) -> None:
        alone = tokenizer.encode(text, add_special_tokens=False)
        assert vocabulary.behind(text) == vocabulary.at_start(text) == alone

    check()


@pytest.mark.parametrize("name", SPACED)
def test_an_answer_begins_as_the_tokenizer_begins_texts(name: str) -> None:
    """As the base was trained, unless that would be read as a space."""
    tokenizer = SPACED[name]()
    vocabulary = vocabulary_of(tokenizer)
    usual = tokenizer.encode("Aurora", add_special_tokens=False)
    assert vocabulary.behind("Aurora") != usual == vocabulary.behind(" Aurora")
    assert vocabulary.starts_spaced == (tokenizer.decode(usual) == "Aurora")
    assert vocabulary.at_start("Aurora") == (
        usual if vocabulary.starts_spaced else vocabulary.behind("Aurora")
    )


def test_no_space_follows_what_opens(tokenizer: Any, vocabulary: Vocabulary) -> None:
    def last(text: str) -> int:
        return vocabulary.behind(text)[-1]

    for text in ("\n", " (", "[", ' "', "word "):
        assert vocabulary.opens(last(text)), text
    for text in ("word", ".", " is", "-", ")"):
        assert not vocabulary.opens(last(text)), text


def test_what_closes_stands_right_behind_a_word(tokenizer: Any, vocabulary: Vocabulary) -> None:
    closers = vocabulary.closers
    for text in (".", "!", '"', "\n"):
        assert closers[vocabulary.behind(text)[0]], text
    assert closers[tokenizer.eos_token_id]
    for text in (":", ";", ","):  # more of the sentence would follow
        assert not closers[vocabulary.behind(text)[0]], text
    for index in closers.nonzero().flatten().tolist():
        shown = tokenizer.decode([*vocabulary.behind("word"), index])
        assert index == tokenizer.eos_token_id or shown[4:5] not in ("", " "), shown


def test_a_comma_announces_more_and_a_word_the_last(vocabulary: Vocabulary) -> None:
    separators, last = vocabulary.list_marks
    assert separators[vocabulary.behind(",")[0]]
    for text in (" and", ".", " ,", ")"):
        assert not separators[vocabulary.behind(text)[0]], text
    assert last == vocabulary.behind(" and")[0]


def test_a_word_goes_on_with_letters_and_digits(vocabulary: Vocabulary) -> None:
    marked = vocabulary.continuations
    assert all(marked[vocabulary.behind(text)[0]] for text in ("ville", "9"))
    assert not any(marked[vocabulary.behind(text)[0]] for text in (" ville", ".", "\n"))


def test_a_text_that_begins_as_nothing_can_end_is_refused() -> None:
    """A tokenizer that reads whole lines as one word, and knows these few."""
    lines = ["\n", ":", "x", "0", "=", "a", "_a"]
    known = {name: index for index, name in enumerate(["<unk>", "<end>", *lines])}
    inner = Tokenizer(models.WordLevel(known, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Split("\r", "removed")
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, eos_token="<end>", unk_token="<unk>"
    )
    with pytest.raises(ConfigError, match=r"splits a text where ' a' begins.* behind none"):
        vocabulary_of(tokenizer)
