"""Tools: what the facts answer is answered, what they do not say is a call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.output_parsers import JsonOutputToolsParser
from langchain_core.tools import tool
from pydantic import BaseModel, Field
from tiny_kblam import FACTS

from kblam.errors import ConfigError, ConstraintError, GenerationTimeoutError
from kblam_integrations.langchain import KBLaMChat

QUESTION = "What is the office of Project Heron?"


class Multiply(BaseModel):
    """Multiply two numbers."""

    a: int = Field(ge=0, le=9)
    b: int = Field(ge=0, le=9)


@tool
def get_weather(city: str) -> str:
    """Get the weather in a city."""
    return f"Sunny in {city}."


def shout(text: str) -> str:
    """Say it loud.

    Args:
        text: What to say.
    """
    return text.upper()


DESCRIBED = {"type": "function", "function": {"name": "now", "description": "Tells the time."}}


@pytest.fixture
def chat(make: Callable[..., KBLaMChat]) -> KBLaMChat:
    """Answers with the value asked for."""
    return make(kb=FACTS, max_tokens=130)


@pytest.fixture
def refusing(make: Callable[..., KBLaMChat]) -> KBLaMChat:
    """Refuses whatever it is asked."""
    return make(kb=FACTS, max_tokens=130, refusal_threshold=0.0)


@pytest.fixture(params=["invoke", "stream", "ainvoke", "astream", "batch", "abatch"])
def say(request: pytest.FixtureRequest) -> Callable[..., AIMessage]:
    """Asks a model in one of the ways there are."""

    def add_up(chunks: list[Any]) -> Any:
        return sum(chunks[1:], start=chunks[0])

    async def asynchronously(model: Any, asked: Any) -> AIMessage:
        if request.param == "ainvoke":
            return await model.ainvoke(asked)
        if request.param == "abatch":
            return (await model.abatch([asked, asked]))[1]
        return add_up([piece async for piece in model.astream(asked)])

    def say(model: Any, asked: Any) -> AIMessage:
        if request.param == "invoke":
            return model.invoke(asked)
        if request.param == "stream":
            return add_up(list(model.stream(asked)))
        if request.param == "batch":
            return model.batch([asked, asked])[1]
        return asyncio.run(asynchronously(model, asked))

    return say


def assert_calls(message: AIMessage, name: str, arguments: set[str]) -> None:
    (call,) = message.tool_calls
    assert call["name"] == name
    assert set(call["args"]) == arguments
    assert call["id"].startswith("call_")
    assert message.content == ""
    assert message.invalid_tool_calls == []
    metadata = message.response_metadata
    assert metadata["finish_reason"] == "tool_calls"
    assert metadata["refused"] is False
    assert [block["type"] for block in message.content_blocks] == ["tool_call"]
    assert message.content_blocks[0]["args"] == call["args"]


class TestChoice:
    @pytest.mark.parametrize("choice", ["any", "required", True, "get_weather"])
    def test_a_call_that_is_wanted(
        self, chat: KBLaMChat, refusing: KBLaMChat, say: Callable[..., AIMessage], choice: Any
    ) -> None:
        for model in (chat, refusing):
            bound = model.bind_tools([get_weather], tool_choice=choice)
            assert_calls(say(bound, QUESTION), "get_weather", {"city"})

    def test_by_name_among_others(self, chat: KBLaMChat) -> None:
        tools = [get_weather, Multiply, shout, DESCRIBED]
        wanted = {"get_weather": {"city"}, "Multiply": {"a", "b"}, "shout": {"text"}, "now": set()}
        for name, arguments in wanted.items():
            choice = {"type": "function", "function": {"name": name}}
            for given in (name, choice):
                reply = chat.bind_tools(tools, tool_choice=given).invoke(QUESTION)
                assert_calls(reply, name, arguments)

    def test_arguments_fit_the_schema(self, chat: KBLaMChat) -> None:
        bound = chat.bind_tools([Multiply], tool_choice="any") | JsonOutputToolsParser()
        for seed in range(4):
            (call,) = bound.bind(temperature=5.0, seed=seed).invoke(QUESTION)
            Multiply.model_validate(call["args"])

    def test_auto_answers_from_the_facts(
        self, chat: KBLaMChat, say: Callable[..., AIMessage]
    ) -> None:
        for choice in (None, "auto", "none"):
            reply = say(chat.bind_tools([get_weather], tool_choice=choice), QUESTION)
            assert reply.content == "Ljubljana"
            assert reply.tool_calls == []
            assert reply.response_metadata["citations"][0]["value"] == "Ljubljana"

    def test_auto_calls_where_the_facts_do_not_say(
        self, refusing: KBLaMChat, say: Callable[..., AIMessage]
    ) -> None:
        reply = say(refusing.bind_tools([get_weather]), QUESTION)
        assert_calls(reply, "get_weather", {"city"})
        assert reply.response_metadata["citations"] == []

    def test_none_refuses_as_without_tools(
        self, refusing: KBLaMChat, say: Callable[..., AIMessage]
    ) -> None:
        reply = say(refusing.bind_tools([get_weather], tool_choice="none"), QUESTION)
        assert reply.content == refusing.kblam.refusal
        assert reply.tool_calls == []

    def test_the_tool_that_the_question_is_about(self, refusing: KBLaMChat) -> None:
        bound = refusing.bind_tools([Multiply, get_weather, shout])
        assert bound.invoke("The weather in a city?").tool_calls[0]["name"] == "get_weather"
        assert bound.invoke("Multiply two numbers").tool_calls[0]["name"] == "Multiply"

    def test_who_may_see_nothing_may_call(self, chat: KBLaMChat) -> None:
        hidden = chat.bind(view={"entity": "Nobody"})
        for choice in ("any", "auto"):
            bound = hidden.bind_tools([get_weather], tool_choice=choice)
            assert_calls(bound.invoke(QUESTION), "get_weather", {"city"})

    def test_both_generations_are_counted(self, refusing: KBLaMChat) -> None:
        call = refusing.bind_tools([get_weather], tool_choice="any").invoke(QUESTION)
        refused = refusing.invoke(QUESTION)
        both = refusing.bind_tools([get_weather]).invoke(QUESTION)
        assert both.usage_metadata["input_tokens"] == (
            call.usage_metadata["input_tokens"] + refused.usage_metadata["input_tokens"]
        )
        assert both.usage_metadata["output_tokens"] > refused.usage_metadata["output_tokens"]

    def test_a_batch_of_both(self, make: Callable[..., KBLaMChat]) -> None:
        chat = make(kb=FACTS, max_tokens=130).bind_tools([get_weather])
        configs = [{"configurable": {"kb_view": {"entity": name}}} for name in ("Nobody", "Aurora")]
        replies = chat.batch(["What is the launch code of Aurora?"] * 2, configs)
        assert_calls(replies[0], "get_weather", {"city"})
        assert replies[1].content == "QX-7719"


class TestStreaming:
    def test_a_call_comes_in_pieces(self, refusing: KBLaMChat) -> None:
        chunks = list(refusing.bind_tools([get_weather]).stream(QUESTION))
        pieces = [piece for chunk in chunks for piece in chunk.tool_call_chunks]
        assert len(pieces) > 2
        assert pieces[0]["name"] == "get_weather"
        assert pieces[0]["id"]
        assert all(piece["index"] == 0 for piece in pieces)
        assert all(piece["name"] is None and piece["id"] is None for piece in pieces[1:])
        assert all(chunk.content == "" for chunk in chunks)
        assert chunks[0].content_blocks[0]["type"] == "tool_call_chunk"
        assert chunks[-1].chunk_position == "last"

    @pytest.mark.filterwarnings("ignore:.*is in beta")
    def test_events(self, refusing: KBLaMChat) -> None:
        stream = refusing.bind_tools([get_weather]).stream_events(QUESTION, version="v3")
        assert stream.output.tool_calls[0]["name"] == "get_weather"

    def test_text_is_not_held_back(self, chat: KBLaMChat) -> None:
        chunks = list(chat.bind_tools([get_weather]).stream(QUESTION))
        assert len([chunk for chunk in chunks if chunk.content]) > 2

    async def test_a_cancelled_call_stops_between_generations(self, refusing: KBLaMChat) -> None:
        forwards: list[None] = []
        refusing.kblam.base.register_forward_hook(lambda *_: forwards.append(None))
        bound = refusing.bind_tools([get_weather])
        with refusing.kblam._engine.lock:
            task = asyncio.create_task(bound.ainvoke(QUESTION))
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await refusing.ainvoke(QUESTION, max_tokens=1)
        assert len(forwards) == 1

    def test_a_timeout_counts_both(self, refusing: KBLaMChat) -> None:
        bound = refusing.bind_tools([get_weather])
        with refusing.kblam._engine.lock, pytest.raises(GenerationTimeoutError):
            bound.invoke(QUESTION, timeout=0.05)
        assert bound.invoke(QUESTION, timeout=60).tool_calls


class TestConversation:
    TURNS = [
        HumanMessage(QUESTION),
        AIMessage("", tool_calls=[{"name": "get_weather", "args": {"city": "Oslo"}, "id": "1"}]),
        ToolMessage("Sunny in Oslo.", tool_call_id="1"),
    ]

    def test_after_a_result_nothing_is_refused_or_called(
        self, refusing: KBLaMChat, say: Callable[..., AIMessage]
    ) -> None:
        reply = say(refusing.bind_tools([get_weather]), self.TURNS)
        assert reply.tool_calls == []
        assert reply.response_metadata["refused"] is False

    def test_nor_where_no_tools_may_be_called(
        self, refusing: KBLaMChat, say: Callable[..., AIMessage]
    ) -> None:
        nothing = refusing.bind(view={"entity": "Nobody"})
        for model in (refusing, refusing.bind_tools([get_weather], tool_choice="none"), nothing):
            reply = say(model, self.TURNS)
            assert reply.tool_calls == []
            assert reply.response_metadata["refused"] is False

    def test_another_question_is_asked_of_the_facts(self, refusing: KBLaMChat) -> None:
        turns = [*self.TURNS, AIMessage("Sunny."), HumanMessage("What is the office of Heron?")]
        assert refusing.bind_tools([get_weather]).invoke(turns).tool_calls

    def test_results_reach_the_model(self, chat: KBLaMChat) -> None:
        count = chat.get_num_tokens_from_messages
        assert count(self.TURNS) > count(self.TURNS[:2]) > count(self.TURNS[:1])
        assert count(self.TURNS, tools=[get_weather]) > count(self.TURNS)


class TestWrittenByTheModel:
    """What models that know tools write, read back."""

    @pytest.fixture
    def writing(
        self, make: Callable[..., KBLaMChat], monkeypatch: pytest.MonkeyPatch
    ) -> Callable[[str], Any]:
        """A model that writes what it is told, by a grammar of that one text."""
        from kblam.constraint import OutputConstraint

        def writing(text: str) -> Any:
            chat = make(max_tokens=150)
            form = OutputConstraint.choice([text])
            monkeypatch.setattr(
                "kblam_integrations.langchain._settings.as_form", lambda given: form
            )
            return chat.bind_tools([get_weather])

        return writing

    def test_calls_among_text(
        self, writing: Callable[[str], Any], say: Callable[..., AIMessage]
    ) -> None:
        text = 'Let me see. <tool_call>{"name": "get_weather", "arguments": {"city": "Rome"}}'
        reply = say(writing(text + "</tool_call>"), "Hello")
        assert reply.content == "Let me see."
        assert reply.tool_calls[0]["args"] == {"city": "Rome"}
        assert [block["type"] for block in reply.content_blocks] == ["text", "tool_call"]

    def test_what_cannot_be_called(
        self, writing: Callable[[str], Any], say: Callable[..., AIMessage]
    ) -> None:
        reply = say(writing('{"name": "get_wether", "arguments": {"city": "Rome"}}'), "Hello")
        assert reply.tool_calls == []
        assert "get_wether" in reply.invalid_tool_calls[0]["args"]
        assert reply.response_metadata["finish_reason"] == "stop"

    def test_braces_are_no_call(
        self, writing: Callable[[str], Any], say: Callable[..., AIMessage]
    ) -> None:
        reply = say(writing("A set is {1, 2} or [1] < 2."), "Hello")
        assert reply.content == "A set is {1, 2} or [1] < 2."
        assert reply.tool_calls == []


class TestErrors:
    def test_what_is_no_tool(self, chat: KBLaMChat) -> None:
        for wrong in (3, {"type": "function"}, {"name": 3}):
            with pytest.raises(ConfigError, match="Expected"):
                chat.bind_tools([wrong])
        with pytest.raises(ConfigError, match="names of their own"):
            chat.bind_tools([get_weather, get_weather]).invoke(QUESTION)

    def test_a_choice_that_is_none(self, chat: KBLaMChat) -> None:
        with pytest.raises(ConfigError, match=r"get_weather\), got 'get_wether'"):
            chat.bind_tools([get_weather], tool_choice="get_wether")
        with pytest.raises(ConfigError, match="Pass tools="):
            chat.invoke(QUESTION, tool_choice="any")

    def test_parameters_that_are_no_schema(self, chat: KBLaMChat) -> None:
        wrong = {"type": "function", "function": {"name": "f", "parameters": {"type": "nothing"}}}
        with pytest.raises(ConstraintError):
            chat.bind_tools([wrong], tool_choice="any").invoke(QUESTION)


@pytest.mark.weights
def test_the_default_model_answers_or_calls() -> None:
    facts = [
        ("Ada Lovelace", "birthplace", "London"),
        ("Project Heron", "budget", "48200 euros"),
        ("Aurora", "launch code", "QX-7719"),
        ("Larkspur Instruments", "director", "Ines Okafor"),
    ]
    chat = KBLaMChat(kb=facts).bind_tools([Multiply, get_weather])
    reply = chat.invoke("Where was Ada Lovelace born?")
    assert reply.content == "The birthplace of Ada Lovelace is London."
    # No question for facts, which a tool is for all the same; others get the model's own words.
    assert [call["name"] for call in chat.invoke("What is 17 times 23?").tool_calls] == ["Multiply"]
    assert not chat.invoke("Say something nice.").tool_calls
    question = HumanMessage("What is the weather in Paris?")
    called = chat.invoke([question])
    assert [(call["name"], call["args"]) for call in called.tool_calls] == [
        ("get_weather", {"city": "Paris"})
    ]
    result = get_weather.invoke(called.tool_calls[0])
    assert "sunny" in chat.invoke([question, called, result]).content.lower()
