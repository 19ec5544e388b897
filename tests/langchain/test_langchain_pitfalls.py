"""What goes wrong with a local Hugging Face pipeline behind LangChain's own chat model, and must
not with this one: the prompt comes back with the reply, no usage, no asynchronous calls, stop
strings without effect, tools and schemas ignored."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from langchain_core.messages import AIMessageChunk, HumanMessage, SystemMessage
from pydantic import BaseModel
from tiny_kblam import FACTS

from kblam_integrations.langchain import KBLaMChat

TURNS = [SystemMessage("Be brief."), HumanMessage("What is the office of Project Heron?")]


class City(BaseModel):
    """A city."""

    city: str


@pytest.fixture
def chat(make: Callable[..., KBLaMChat]) -> KBLaMChat:
    return make(kb=FACTS, max_tokens=130)


def test_the_prompt_does_not_come_back(chat: KBLaMChat) -> None:
    assert chat.invoke(TURNS).content == "Ljubljana"


def test_usage_is_told(chat: KBLaMChat) -> None:
    usage = chat.invoke(TURNS).usage_metadata
    assert usage["input_tokens"] == chat.get_num_tokens_from_messages(TURNS)
    assert usage["output_tokens"] > 1
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]


async def test_asynchronous_calls(chat: KBLaMChat) -> None:
    assert (await chat.ainvoke(TURNS)).content == "Ljubljana"
    pieces = [piece async for piece in chat.astream(TURNS)]
    assert len(pieces) > 3
    assert all(isinstance(piece, AIMessageChunk) for piece in pieces)
    assert "".join(piece.content for piece in pieces) == "Ljubljana"
    assert sum(pieces[1:], start=pieces[0]).usage_metadata["output_tokens"] > 1


async def test_stop_strings(chat: KBLaMChat) -> None:
    assert chat.invoke(TURNS, stop=["j"]).content == "L"
    assert (await chat.bind(stop=["bl"]).ainvoke(TURNS)).content == "Lju"
    assert "".join(piece.content for piece in chat.stream(TURNS, stop=["lj"])) == "Ljub"


def test_tools_and_schemas(chat: KBLaMChat) -> None:
    (call,) = chat.bind_tools([City], tool_choice="any").invoke(TURNS).tool_calls
    assert set(call["args"]) == {"city"}
    assert isinstance(chat.with_structured_output(City).invoke(TURNS), City)


def test_settings_of_a_call_count(chat: KBLaMChat) -> None:
    assert chat.invoke(TURNS, max_tokens=2).usage_metadata["output_tokens"] == 2
