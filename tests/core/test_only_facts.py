"""Answers from facts alone: general requests are refused too."""

from __future__ import annotations

import pytest

from kblam import GenerationOptions, KBLaM
from kblam.errors import ConfigError

FACTS = [("Larkspur Instruments", "director", "Ines Okafor"), ("Aurora", "site", "Faro")]
ONLY = GenerationOptions(only_facts=True)


@pytest.fixture(scope="module")
def model() -> KBLaM:
    return KBLaM.from_pretrained().attach(FACTS)


@pytest.mark.weights
@pytest.mark.parametrize("request_", ["Say something nice.", "What is 17 times 23?"])
def test_general_requests_are_refused_where_only_facts_are_wanted(
    model: KBLaM, request_: str
) -> None:
    assert not model.ask(request_).refused
    answers = [model.ask(request_, ONLY), *model.ask_batch([request_] * 2, ONLY)]
    assert all(answer.refused and answer.text == model.refusal for answer in answers)
    assert "".join(model.stream(request_, ONLY)) == model.refusal


@pytest.mark.weights
def test_what_a_fact_answers_is_answered(model: KBLaM) -> None:
    beams = GenerationOptions(only_facts=True, num_beams=2)
    for options in (ONLY, beams):
        assert "Faro" in model.ask("What is the site of Aurora?", options).text


def test_without_facts_there_is_nothing_to_refuse_for(load) -> None:
    assert not load("copying").ask("Who?", GenerationOptions(only_facts=True)).refused


def test_what_is_no_truth_value() -> None:
    with pytest.raises(ConfigError, match="only_facts"):
        GenerationOptions(only_facts="yes")  # type: ignore[arg-type]
