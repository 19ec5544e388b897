"""A refused question becomes a call only of a tool that it is about."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core.tools import FunctionTool

from kblam.encoding import SentenceEncoder
from kblam.errors import ConfigError
from kblam_integrations._fitting import ToolFit
from kblam_integrations.llama_index import KBLaMLLM
from kblam_integrations.llama_index._tool_calls import _described

SALARY = "What is the salary of Joan Smith?"
MOTHER = "Who is the mother of Dr. Anna Schmidt?"


def find_salary(name: str) -> str:
    """Look up the salary of a person."""
    return "50k"


def page(name: str) -> str:
    """Page a doctor to come immediately."""
    return "paged"


TOOLS = [FunctionTool.from_defaults(page), FunctionTool.from_defaults(find_salary)]


@pytest.fixture
def refusing(llm: KBLaMLLM) -> KBLaMLLM:
    """Refuses whatever it is asked, for it may see no fact."""
    llm = llm.with_kb(llm.kb, max_new_tokens=64)
    return llm.with_view(llm.kblam.store.view(entity="Nobody"))


def called(llm: KBLaMLLM, reply: Any) -> list[str]:
    calls = llm.get_tool_calls_from_response(reply, error_on_no_tool_call=False)
    return [call.tool_name for call in calls]


def test_the_tool_that_a_question_is_about(refusing: KBLaMLLM) -> None:
    assert called(refusing, refusing.chat_with_tools(TOOLS, SALARY)) == ["find_salary"]
    required = refusing.chat_with_tools(TOOLS, SALARY, tool_required=True)
    assert called(refusing, required) == ["find_salary"]


def test_what_no_tool_is_for_is_refused(refusing: KBLaMLLM) -> None:
    reply = refusing.chat_with_tools(TOOLS, MOTHER)
    assert reply.raw["refused"]
    assert reply.message.content == refusing.kblam.refusal
    assert called(refusing, reply) == []
    pieces = list(refusing.stream_chat_with_tools(TOOLS, MOTHER))
    assert "".join(piece.delta for piece in pieces) == refusing.kblam.refusal
    assert called(refusing, pieces[-1]) == []


def test_a_call_that_is_wanted_is_made_all_the_same(refusing: KBLaMLLM) -> None:
    reply = refusing.chat_with_tools(TOOLS, MOTHER, tool_choice="page")
    assert called(refusing, reply) == ["page"]
    assert called(refusing, refusing.chat_with_tools(TOOLS, MOTHER, tool_required=True))


def test_the_threshold_is_a_setting(refusing: KBLaMLLM) -> None:
    strict = refusing.with_kb(refusing.kb, tool_threshold=0.99)
    assert called(strict, strict.chat_with_tools(TOOLS, SALARY)) == []
    assert strict.to_dict()["tool_threshold"] == 0.99
    with pytest.raises(ConfigError, match="from -1 to 1"):
        refusing.with_kb(refusing.kb, tool_threshold=2.0)


@pytest.mark.parametrize("name", ["placeOrder", "place_order", "place-order"])
def test_names_are_read_as_words(name: str) -> None:
    encoder = SentenceEncoder()
    bare = {"type": "function", "function": {"name": name}}
    assert ToolFit(lambda: encoder).fitting("Place an order for a stove", [bare]) == [bare]


def test_a_signature_says_nothing_of_what_a_tool_is_for() -> None:
    encoder = SentenceEncoder()
    fit = ToolFit(lambda: encoder)
    signed = _described(TOOLS[0])
    assert signed["function"]["description"].startswith("page(name: ")
    plain = {"type": "function", "function": {"name": "page", "description": page.__doc__}}
    one, other = fit.likeness(MOTHER, [signed, plain])
    assert one == pytest.approx(other)
