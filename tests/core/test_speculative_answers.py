"""Answers with the shipped adapter are the same with and without guesses, and take fewer passes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from observing import passes_of

from kblam import Answer, KBLaM, OutputConstraint
from kblam.config import GenerationOptions

pytestmark = pytest.mark.weights

FACTS = [
    ("Trailblazer 40 Backpack", "color", "forest green"),
    ("Trailblazer 40 Backpack", "color", "slate grey"),
    ("Ember Stove", "price", "$64.50"),
    ("Ember Stove", "weight", "310 g"),
    ("Ember Stove Pro", "price", "$89.00"),
    ("Cairn & Pine Outfitters", "return policy", "60 days with receipt"),
]
PRICES = {"product": {"type": "string"}, "price": {"type": "number"}}
FORM = OutputConstraint.json_schema({"type": "object", "properties": PRICES})
PRICE = "What is the price of the Ember Stove?"
BOTH = "What is the price of the Ember Stove and the Ember Stove Pro?"


@pytest.fixture(scope="module")
def model() -> KBLaM:
    return KBLaM.from_pretrained().attach(FACTS)


@pytest.fixture
def passes(model: KBLaM) -> Iterator[list[int]]:
    """How many tokens each forward pass of the decoder had."""
    with passes_of(model.base) as counted:
        yield counted


def _same(answer: Answer, other: Answer) -> None:
    """All of them but the time, and what single precision rounds."""
    attention, others = answer.attention, other.attention
    assert attention is not None
    assert others is not None
    assert (attention.facts, attention.tokens) == (others.facts, others.tokens)
    np.testing.assert_allclose(attention.by_token, others.by_token, atol=1e-3)
    np.testing.assert_allclose(attention.by_layer, others.by_layer, atol=1e-4)
    assert [(c.fact, c.start, c.end) for c in answer.citations] == [
        (c.fact, c.start, c.end) for c in other.citations
    ]
    assert [c.score for c in answer.citations] == pytest.approx(
        [c.score for c in other.citations], abs=1e-3
    )
    timeless: dict[str, Any] = {
        "citations": (),
        "seconds": 0.0,
        "time_to_first_token": 0.0,
        "attention": None,
    }
    assert replace(answer, **timeless) == replace(other, **timeless)


@pytest.mark.parametrize(
    ("question", "options", "most"),
    [
        (PRICE, {}, 3),
        (BOTH, {}, 12),
        ("List all colors of the Trailblazer 40 Backpack.", {}, 8),
        (PRICE, {"temperature": 1.0, "seed": 3}, 12),
        (BOTH, {"temperature": 1.5, "top_p": 0.9, "seed": 4}, 40),
        (PRICE, {"stop": ("64",)}, 3),
        (PRICE, {"max_new_tokens": 7}, 2),
        (PRICE, {"max_new_tokens": 1}, 1),
        (BOTH, {"constraint": FORM}, 12),
        ("What is the capital of France?", {}, 16),
        ("Write a poem about the sea.", {"max_new_tokens": 12}, 12),
    ],
)
def test_an_answer_is_the_same(
    model: KBLaM, passes: list[int], question: str, options: dict[str, Any], most: int
) -> None:
    settings = GenerationOptions(**{"max_new_tokens": 40, **options})
    plain = model.ask(question, replace(settings, speculative=False), trace=True)
    singly = len(passes)
    assert passes[1:] == [1] * (singly - 1)
    passes.clear()
    guessed = model.ask(question, settings, trace=True)
    _same(guessed, plain)
    assert len(passes) <= min(most, singly)


def test_a_stream_is_the_same(model: KBLaM, passes: list[int]) -> None:
    with model.stream(BOTH, GenerationOptions(speculative=False)) as stream:
        plain = "".join(stream)
    singly = len(passes)
    with model.stream(BOTH) as stream:
        assert "".join(stream) == plain
    assert len(passes) - singly < singly / 2


def test_beams_and_batches_are_left_alone(model: KBLaM, passes: list[int]) -> None:
    model.ask(PRICE, GenerationOptions(num_beams=2))
    model.ask_batch([PRICE, BOTH])
    prompts = [length for length in passes if length > 1]
    assert len(prompts) == 2
