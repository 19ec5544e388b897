"""A refused question becomes a call only of a tool that it is about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from tiny_kblam import FACTS

from kblam.errors import ConfigError
from kblam_integrations.langchain import KBLaMChat

UNFIT = "What is the office of Project Heron?"
FIT = "The weather in a city?"


def get_weather(city: str) -> str:
    """Get the weather in a city."""
    return f"Sunny in {city}."


def place_order(product: str) -> str:
    """Place an order for a product."""
    return f"Ordered {product}."


@pytest.fixture
def refusing(make: Callable[..., KBLaMChat]) -> KBLaMChat:
    """Refuses whatever it is asked; its encoder finds texts with words in common alike."""
    return make(kb=FACTS, max_tokens=80, refusal_threshold=0.0, tool_threshold=0.3)


def refuses(reply: AIMessage, model: KBLaMChat) -> bool:
    return reply.content == model.kblam.refusal and not reply.tool_calls


def test_what_no_tool_is_for_is_refused(refusing: KBLaMChat) -> None:
    bound = refusing.bind_tools([place_order, get_weather])
    assert refuses(bound.invoke(UNFIT), refusing)
    chunks = list(bound.stream(UNFIT))
    assert refuses(sum(chunks[1:], start=chunks[0]), refusing)
    unfit, fit = bound.batch([UNFIT, FIT])
    assert refuses(unfit, refusing)
    assert unfit.response_metadata["refused"] is True
    assert [call["name"] for call in fit.tool_calls] == ["get_weather"]


@pytest.mark.parametrize("choice", ["any", "place_order"])
def test_a_call_that_is_wanted_is_made_all_the_same(refusing: KBLaMChat, choice: str) -> None:
    (call,) = refusing.bind_tools([place_order], tool_choice=choice).invoke(UNFIT).tool_calls
    assert call["name"] == "place_order"


def test_the_lowest_threshold_lets_all_fit(make: Callable[..., KBLaMChat]) -> None:
    chat = make(kb=FACTS, max_tokens=80, refusal_threshold=0.0, tool_threshold=-1.0)
    assert chat.bind_tools([place_order]).invoke(UNFIT).tool_calls


@pytest.mark.parametrize(
    ("threshold", "expected"), [(0.05, True), (1.0, False), (-1.0, False), (None, False)]
)
def test_what_a_tool_is_for_is_left_to_facts_and_tools(
    make: Callable[..., KBLaMChat], threshold: float | None, expected: bool
) -> None:
    """Where every tool fits, as with an encoder none was measured for, general requests stay."""
    chat = make(kb=FACTS, tool_threshold=threshold).bind_tools([get_weather])
    request = chat.bound._request([HumanMessage(FIT)], None, chat.kwargs)
    assert request.first.options.only_facts is expected


@pytest.mark.parametrize("wrong", [1.5, -2.0, float("nan")])
def test_a_threshold_that_is_no_cosine(make: Callable[..., KBLaMChat], wrong: Any) -> None:
    with pytest.raises(ConfigError, match="from -1 to 1"):
        make(kb=FACTS, tool_threshold=wrong)


def test_a_cache_tells_thresholds_apart(make: Callable[..., KBLaMChat]) -> None:
    low, high = (make(kb=FACTS, tool_threshold=at) for at in (0.1, 0.9))
    assert low._get_llm_string() != high._get_llm_string()
