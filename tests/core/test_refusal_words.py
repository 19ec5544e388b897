"""Refusals that the model writes itself: what is one, and whose reply prevails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import pytest
import torch
from tiny_kblam import FACTS
from torch import Tensor
from transformers import LogitsProcessor

from kblam._refusal_words import may_become_refusal, writes_refusal
from kblam.config import DEFAULT_REFUSAL, GenerationOptions
from kblam.evaluation._generating import generating_with
from kblam.model import KBLaM

QUESTION = "What is the office of Project Heron?"
GENERAL = "say something nice"
ROOM = GenerationOptions(max_new_tokens=120)
INFORMAL = "I'm sorry, I cannot find relevant information in the knowledge base."

Refusing = Callable[..., AbstractContextManager[None]]


@pytest.mark.parametrize("text", [DEFAULT_REFUSAL, f" {DEFAULT_REFUSAL}", INFORMAL])
def test_the_trained_words_are_one(text: str) -> None:
    assert writes_refusal(text)
    for length in range(len(text) + 1):
        assert may_become_refusal(text[:length])


@pytest.mark.parametrize("length", [26, 40, len(DEFAULT_REFUSAL) - 1])
def test_so_is_what_is_cut_off_of_them(length: int) -> None:
    assert writes_refusal(DEFAULT_REFUSAL[:length])


@pytest.mark.parametrize("length", [0, 1, 5, 14])
def test_a_few_words_are_none_yet(length: int) -> None:
    assert not writes_refusal(DEFAULT_REFUSAL[:length])


@pytest.mark.parametrize(
    "text", ["I am sorry to hear that.", f"{DEFAULT_REFUSAL} But it may be Paris.", "No."]
)
def test_other_words_are_none(text: str) -> None:
    assert not writes_refusal(text)
    assert not may_become_refusal(text)


class _Writing(LogitsProcessor):
    """Makes some rows of the first ``generate`` call write a text, and end."""

    def __init__(self, tokens: Sequence[int], rows: Sequence[int]) -> None:
        self._tokens, self._rows, self._done = list(tokens), list(rows), 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        if self._done < len(self._tokens):
            forced = torch.full_like(scores, -torch.inf)
            forced[:, self._tokens[self._done]] = 0.0
            scores[self._rows] = forced[self._rows]
            self._done += 1
        return scores


@pytest.fixture
def writing() -> Refusing:
    """Has a model write a text by itself, as one that learned to refuse may."""

    def writing(
        model: KBLaM, text: str = DEFAULT_REFUSAL, rows: Sequence[int] = (0,)
    ) -> AbstractContextManager[None]:
        tokenizer = model.tokenizer
        tokens = [*tokenizer(text).input_ids, tokenizer.eos_token_id]
        return generating_with(model.base, processors=[_Writing(tokens, rows)])

    return writing


@pytest.fixture
def base_reply(load: Callable[..., KBLaM]) -> str:
    return load("copying").ask(GENERAL, ROOM).text


@pytest.mark.parametrize("text", [DEFAULT_REFUSAL, INFORMAL])
def test_where_nothing_is_named_and_the_estimate_sees_no_reason_the_base_replies(
    copying: KBLaM, writing: Refusing, base_reply: str, text: str
) -> None:
    selected = copying.ask(GENERAL, ROOM).facts
    with writing(copying, text):
        answer = copying.ask(GENERAL, ROOM)
    assert answer.text == base_reply
    assert (answer.refused, answer.citations) == (False, ())
    assert answer.finish_reason in ("stop", "length")
    # What selection found is told all the same, and of which state of the store.
    assert [one.fact for one in answer.facts] == [one.fact for one in selected] != []
    assert answer.kb_fingerprint == copying.store.fingerprint
    assert 0 < answer.time_to_first_token <= answer.seconds


@pytest.mark.parametrize(
    "prompt",
    [
        "What is the phone number of the Ghent office?",
        "what is the phone number of the Ghent office?",
        [
            {"role": "user", "content": "Who leads Aurora?"},
            {"role": "assistant", "content": "Mirela Osei."},
            {"role": "user", "content": "and its budget?"},
        ],
    ],
)
def test_where_something_is_named_the_refusal_stands(
    copying: KBLaM, writing: Refusing, prompt: Any
) -> None:
    with writing(copying):
        answer = copying.ask(prompt, ROOM)
    assert (answer.text, answer.refused) == (copying.refusal, True)


@pytest.mark.parametrize("question", [QUESTION, QUESTION.lower()])
def test_where_a_fact_surely_answers_it_is_told(
    copying: KBLaM, writing: Refusing, question: str
) -> None:
    with writing(copying):
        answer = copying.ask(question, ROOM, trace=True)
    assert (answer.text, answer.refused) == ("The office of Project Heron is Ljubljana.", False)
    (citation,) = answer.citations
    assert answer.text[citation.start : citation.end] == citation.fact.value == "Ljubljana"
    assert (answer.finish_reason, answer.attention.tokens) == ("stop", ())
    with writing(copying):
        assert "".join(copying.stream(question, ROOM)) == answer.text
    # Without copying, every word is the model's.
    with writing(copying):
        assert copying.with_options(grounding="off").ask(question, ROOM).refused


def test_a_stream_of_it_tells_nothing_of_the_refusal(
    copying: KBLaM, writing: Refusing, base_reply: str
) -> None:
    with writing(copying):
        stream = copying.stream(GENERAL, ROOM)
        pieces = list(stream)
    assert "".join(pieces) == stream.answer.text == base_reply


def test_rows_that_answer_keep_their_answers(
    copying: KBLaM, writing: Refusing, base_reply: str
) -> None:
    other = "What is the project lead of Aurora?"
    with writing(copying, rows=[1]):
        answers = copying.ask_batch([other, GENERAL, other], ROOM)
    assert [answer.text for answer in answers] == ["Mirela Osei", base_reply, "Mirela Osei"]
    assert [len(answer.citations) for answer in answers] == [1, 0, 1]


def test_where_the_estimate_refuses_it_is_a_refusal(load: Callable[..., KBLaM]) -> None:
    model = load("copying", refusal_threshold=0.0, refusal="No idea.").attach(FACTS)
    assert model.ask(QUESTION, ROOM).text == "No idea."


def test_a_trace_shows_what_the_prompt_looked_at(copying: KBLaM, writing: Refusing) -> None:
    with writing(copying):
        trace = copying.ask(GENERAL, ROOM, trace=True).attention
    assert trace.by_layer.shape == (2, len(trace.facts))
    assert trace.tokens == ()
    assert trace.by_token.shape == (0, len(trace.facts))


@pytest.mark.weights
def test_general_requests_are_answered_as_without_facts() -> None:
    """Requests after which the shipped adapter writes the refusal, with facts of something else."""
    requests = [
        'Is "quickly" a noun, a verb, an adjective or an adverb?',
        "It is raining again.",
        "Let us play a word game. You start.",
    ]
    brief = GenerationOptions(max_new_tokens=20)
    model = KBLaM.from_pretrained()
    expected = [answer.text for answer in model.ask_batch(requests, brief)]
    answers = model.attach(FACTS).ask_batch(requests, brief)
    assert [answer.text for answer in answers] == expected
    assert not any(answer.refused or answer.citations for answer in answers)
    # But what asks for a fact that is not there is refused.
    assert model.ask("What is the launch code of Borealis?").refused
