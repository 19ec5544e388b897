"""``KBLaMChatEngine``: conversations with sources, and LlamaIndex's own chat engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from llama_index.core import KnowledgeGraphIndex, PropertyGraphIndex
from llama_index.core.base.llms.types import MessageRole
from llama_index.core.callbacks import CallbackManager, LlamaDebugHandler
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.chat_engine.types import BaseChatEngine
from llama_index.core.graph_stores import SimpleGraphStore
from llama_index.core.llms import ChatMessage
from llama_index.core.memory import ChatMemoryBuffer
from llama_support import Recorder, before_each_pass, fail_at_third, slow, ticks_during

from kblam import KnowledgeStore
from kblam.errors import ConfigError, PromptTooLongError
from kblam_integrations.llama_index import KBLaMChatEngine, KBLaMLLM

pytestmark = pytest.mark.weights  # of the sentence encoder

QUESTION = "What is the launch code of Aurora?"
CODE = "The launch code of Aurora is QX-7719."


@pytest.fixture
def engine(llm: KBLaMLLM) -> KBLaMChatEngine:
    return KBLaMChatEngine(llm)


def contents(engine: BaseChatEngine) -> list[str]:
    return [str(message.content) for message in engine.chat_history]


def test_a_reply_and_its_sources(engine: KBLaMChatEngine, llm: KBLaMLLM) -> None:
    assert isinstance(engine, BaseChatEngine)
    response = engine.chat(QUESTION)
    expected = llm.complete(QUESTION)
    assert response.response == str(response) == expected.text
    assert [node.text for node in response.source_nodes] == [CODE]
    assert response.metadata["usage"] == expected.raw["usage"]
    assert response.metadata["citations"] == response.sources[0].raw_output["citations"]
    assert response.sources[0].raw_input == {"message": QUESTION}
    assert response.sources[0].content == CODE
    assert contents(engine) == [QUESTION, expected.text]
    assert [m.role for m in engine.chat_history] == [MessageRole.USER, MessageRole.ASSISTANT]


def test_what_was_said_is_read_again(engine: KBLaMChatEngine, llm: KBLaMLLM) -> None:
    first = engine.chat(QUESTION).response
    second = engine.chat("And its budget?")
    turns = [
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": first},
        {"role": "user", "content": "And its budget?"},
    ]
    assert second.metadata["usage"]["prompt_tokens"] == llm.kblam.count_tokens(turns)
    engine.reset()
    assert engine.chat_history == []
    alone = engine.chat("And its budget?").metadata["usage"]["prompt_tokens"]
    assert alone == llm.kblam.count_tokens("And its budget?")
    history = [ChatMessage(role="user", content="Hi."), ChatMessage(role="assistant", content="?")]
    engine.chat("Hello.", chat_history=history)
    assert contents(engine)[:3] == ["Hi.", "?", "Hello."]


async def test_every_way_of_asking_says_the_same(llm: KBLaMLLM) -> None:
    expected = KBLaMChatEngine(llm).chat(QUESTION)
    engine = KBLaMChatEngine(llm)
    response: Any = await engine.achat(QUESTION)
    assert response.response == expected.response
    assert response.source_nodes == expected.source_nodes
    for way in (engine.stream_chat, engine.astream_chat):
        engine.reset()
        response = way(QUESTION)
        if asyncio.iscoroutine(response):
            response = await response
            pieces = [piece async for piece in response.async_response_gen()]
        else:
            assert response.source_nodes == []
            assert response.response == ""
            pieces = list(response.response_gen)
        assert len(pieces) > 2
        assert "".join(pieces) == str(response) == expected.response
        assert response.source_nodes == expected.source_nodes
        assert response.metadata["usage"] == expected.metadata["usage"]
        assert response.is_done
        assert contents(engine) == [QUESTION, expected.response]


def test_arguments_and_views_of_a_call(weights: dict[str, str]) -> None:
    facts = [
        {"entity": "Aurora", "property": "budget", "value": f"{n} euros", "metadata": {"team": t}}
        for n, t in ((1, "north"), (2, "south"))
    ]
    with KnowledgeStore.from_source(facts) as store:
        engine = KBLaMChatEngine(KBLaMLLM(store, **weights, max_new_tokens=4))

        def read(engine: KBLaMChatEngine, **call: Any) -> set[str]:
            response = engine.chat("What is the budget of Aurora?", **call)
            return {node.metadata["value"] for node in response.source_nodes}

        north, south = store.view(team="north"), store.view(team="south")
        assert read(engine, view=north) == {"1 euros"}
        other = engine.with_view(south)
        assert other.chat_history == []  # what one caller was told is not for another
        assert read(other) == {"2 euros"}
        assert read(other, view=north) == set()
        assert engine.chat("Hello?", max_tokens=2).metadata["usage"]["completion_tokens"] == 2
        with pytest.raises(ConfigError, match="'max_token'"):
            engine.chat("Hello?", max_token=2)


def test_the_oldest_turns_make_room(llm: KBLaMLLM) -> None:
    engine = KBLaMChatEngine(llm, system_prompt="Be brief.", memory=buffer(100_000))
    long = "word " * 150
    for turn in range(8):
        response = engine.chat(f"{turn} {long}", max_tokens=2)
        assert response.metadata["usage"]["prompt_tokens"] <= 1024 - llm.max_new_tokens
    assert len(engine.chat_history) == 16  # remembered, though not all of it is read
    with pytest.raises(PromptTooLongError, match="1024"):
        engine.chat("very " * 1200)
    assert len(engine.chat_history) == 16


@pytest.mark.parametrize("tokens", [1024, 5000])
def test_a_reply_of_any_length_leaves_room_for_what_was_said(llm: KBLaMLLM, tokens: int) -> None:
    engine = KBLaMChatEngine(llm.model_copy(update={"max_new_tokens": tokens}))
    alone = engine.chat(QUESTION, max_tokens=2).metadata["usage"]["prompt_tokens"]
    again = engine.chat(QUESTION, max_tokens=2).metadata["usage"]["prompt_tokens"]
    assert again > 1.5 * alone


def buffer(limit: int) -> ChatMemoryBuffer:
    return ChatMemoryBuffer.from_defaults(token_limit=limit)


def test_the_system_prompt_goes_first(llm: KBLaMLLM, graph: SimpleGraphStore) -> None:
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUESTION}]
    tokens = llm.kblam.count_tokens(turns)
    for engine in (
        KBLaMChatEngine(llm, system_prompt="Be brief."),
        KBLaMChatEngine.from_store(graph, llm, system_prompt="Be brief."),
    ):
        for one in (engine, engine.with_view(llm.kblam.store.view(entity="Aurora"))):
            assert one.chat(QUESTION).metadata["usage"]["prompt_tokens"] == tokens
            assert contents(one)[0] == QUESTION


def test_over_indexes_that_change(
    kg_index: KnowledgeGraphIndex, property_index: PropertyGraphIndex, graph: SimpleGraphStore
) -> None:
    assert KBLaMChatEngine.from_index(property_index).chat(QUESTION).source_nodes[0].text == CODE
    memory = buffer(500)
    engine = KBLaMChatEngine.from_index(kg_index, memory=memory, max_new_tokens=3)
    assert engine.llm.max_new_tokens == 3
    assert engine.chat(QUESTION).source_nodes[0].text == CODE
    assert len(memory.get_all()) == 2
    graph._data.graph_dict["Aurora"] = [["launch code", "ZZ-1"]]
    assert engine.chat(QUESTION).source_nodes[0].metadata["value"] == "ZZ-1"


async def test_the_loop_stays_free(engine: KBLaMChatEngine) -> None:
    async def stream() -> None:
        response = await engine.astream_chat(QUESTION)
        async for _ in response.async_response_gen():
            pass

    with before_each_pass(engine.llm, slow):
        assert await ticks_during(lambda: engine.achat(QUESTION)) > 10
        assert await ticks_during(stream) > 10


async def test_an_error_reaches_who_reads(engine: KBLaMChatEngine, events: Recorder) -> None:
    with before_each_pass(engine.llm, fail_at_third):
        pieces = engine.stream_chat(QUESTION).response_gen
        assert next(pieces)
        with pytest.raises(RuntimeError, match="out of memory"):
            list(pieces)
    with before_each_pass(engine.llm, fail_at_third):
        later = (await engine.astream_chat(QUESTION)).async_response_gen()
        assert await anext(later)
        with pytest.raises(RuntimeError, match="out of memory"):
            await asyncio.wait_for(exhaust(later), 20)
    assert events.names().count("StreamChatErrorEvent") == 2
    assert engine.chat_history == []
    with before_each_pass(engine.llm, fail_at_third), pytest.raises(RuntimeError):
        engine.chat(QUESTION)
    with before_each_pass(engine.llm, fail_at_third), pytest.raises(RuntimeError):
        await engine.achat(QUESTION)
    assert engine.chat_history == []
    assert engine.chat(QUESTION).response


async def exhaust(pieces: AsyncIterator[str]) -> None:
    async for _ in pieces:
        pass


async def test_leaving_a_stream_ends_the_generation(engine: KBLaMChatEngine) -> None:
    with before_each_pass(engine.llm, slow) as passes:
        response = engine.stream_chat(QUESTION, max_tokens=100)
        pieces = response.response_gen
        next(pieces)
        pieces.close()
        later = await engine.astream_chat(QUESTION, max_tokens=100)
        async_pieces = later.async_response_gen()
        await anext(async_pieces)
        await async_pieces.aclose()
        task = asyncio.create_task(engine.achat(QUESTION, max_tokens=100))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await engine.achat("Next?", max_tokens=1)
        assert len(passes) < 60
    assert contents(engine)[0] == "Next?"


def test_events(llm: KBLaMLLM, events: Recorder) -> None:
    debug = LlamaDebugHandler(print_trace_on_end=False)
    engine = KBLaMChatEngine(llm, callback_manager=CallbackManager([debug]))
    engine.chat(QUESTION)
    assert events.names() == ["LLMChatStartEvent", "LLMChatEndEvent"]
    events.seen.clear()
    list(engine.stream_chat(QUESTION).response_gen)
    names = events.names()
    assert {"StreamChatStartEvent", "StreamChatDeltaReceivedEvent"} < set(names)
    assert names[-1] == "StreamChatEndEvent"


def test_llama_indexs_own_chat_engine(llm: KBLaMLLM) -> None:
    engine = SimpleChatEngine.from_defaults(llm=llm, memory=buffer(500))
    assert engine.chat(QUESTION).response == llm.complete(QUESTION).text
    streamed = engine.stream_chat("And its budget?")
    assert "".join(streamed.response_gen) == contents(engine)[-1]
    assert len(engine.chat_history) == 4


# Its own thread raises what its reader gets, too.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_error_in_llama_indexs_own_chat_engine(llm: KBLaMLLM) -> None:
    engine = SimpleChatEngine.from_defaults(llm=llm, memory=buffer(500))
    with before_each_pass(llm, fail_at_third), pytest.raises(RuntimeError, match="out of memory"):
        list(engine.stream_chat(QUESTION).response_gen)
