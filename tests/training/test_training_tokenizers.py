"""Answers to learn, with tokenizers that begin texts with a space and with others."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_kblam import WordEncoder, make_decoder
from tiny_tokenizers import PLAIN, SIGNS, SPACED

from kblam._engine import Engine
from kblam.knowledge import Triple
from kblam.training.batches import IGNORED, Example, question_example
from kblam.training.data import TrainingQuestion

FACTS = (Triple("Aurora", "launch code", "QX-7719"), Triple("Acme", "founded in", "1987"))
texts = st.text(st.sampled_from(SIGNS), min_size=1, max_size=8).filter(str.strip)
answers = st.lists(st.tuples(texts, texts), min_size=1, max_size=3)


@pytest.fixture(scope="module", params=[*SPACED, *PLAIN])
def engine(request: pytest.FixtureRequest) -> Engine:
    tokenizer = {**SPACED, **PLAIN}[request.param]()
    return Engine(make_decoder(tokenizer), tokenizer, "tiny", None, WordEncoder())


def _example(engine: Engine, facts: tuple[Triple, ...], *answer: str | int) -> Example:
    gold = tuple(part for part in answer if isinstance(part, int))
    return question_example(engine, facts, TrainingQuestion("?", gold, answer, "single"), "No.")


def _copied(engine: Engine, example: Example) -> list[str]:
    """The texts that are copied, with the spaces that are written with them."""
    begins = [place for place, fact in enumerate(example.starts) if fact != IGNORED]
    found = []
    for begin in begins:
        rest = range(begin + 1, len(example.labels))
        end = next(p for p in rest if example.labels[p] != IGNORED or p in begins)
        before = engine.tokenizer.decode(example.answer[:begin])
        found.append(engine.tokenizer.decode(example.answer[:end])[len(before) :])
    return found


@settings(max_examples=60, deadline=None)
@given(answer=answers)
def test_an_answer_says_exactly_what_is_to_be_said(
    engine: Engine, answer: list[tuple[str, str]]
) -> None:
    """Whatever is copied stands there without a space too many or too few."""
    facts = tuple(Triple("an entity", "a property", value) for _, value in answer)
    parts = [part for place, (words, _) in enumerate(answer) for part in (words, place)]
    parts[0] = "It is" + answer[0][0]
    example = _example(engine, facts, *parts)
    assert example.answer[-1] == engine.tokenizer.eos_token_id
    told = "".join(part if isinstance(part, str) else facts[part].value_text for part in parts)
    assert engine.tokenizer.decode(example.answer[:-1]) == told
    for copied, fact in zip(_copied(engine, example), _gold(example, facts), strict=True):
        assert copied.removeprefix(" ") == fact.value_text


def _gold(example: Example, facts: tuple[Triple, ...]) -> list[Triple]:
    return [facts[fact] for fact in example.starts if fact != IGNORED]


def test_punctuation_follows_a_value_without_a_space(engine: Engine) -> None:
    example = _example(
        engine, FACTS, "The launch code of Aurora is ", 0, ", said Aurora's (", 0, ")."
    )
    told = "The launch code of Aurora is QX-7719, said Aurora's (QX-7719)."
    assert engine.tokenizer.decode(example.answer[:-1]) == told
    assert _copied(engine, example) == [" launch code", " Aurora", " QX-7719", " Aurora", "QX-7719"]


def test_copied_texts_may_follow_each_other(engine: Engine) -> None:
    example = _example(engine, FACTS, "Acme was founded in ", 1, ".")
    assert engine.tokenizer.decode(example.answer[:-1]) == "Acme was founded in 1987."
    assert _copied(engine, example) == ["Acme", " was founded in", " 1987"]


def test_what_a_generation_would_write_otherwise_is_not_copied(engine: Engine) -> None:
    """It writes a space before a value after all but brackets and quotes."""
    example = _example(engine, FACTS, "Code#", 0, ' ("', 0, '", ( ', 0, ").")
    told = 'Code#QX-7719 ("QX-7719", ( QX-7719).'
    assert engine.tokenizer.decode(example.answer[:-1]) == told
    assert _copied(engine, example) == ["QX-7719"]


def test_a_value_may_be_the_beginning(engine: Engine) -> None:
    example = _example(engine, FACTS, 0, " it is.")
    assert engine.tokenizer.decode(example.answer[:-1]) == "QX-7719 it is."
    assert _copied(engine, example) == ["QX-7719"]
    start = engine.vocabulary.at_start("QX-7719")
    assert example.answer[: len(start)] == start
