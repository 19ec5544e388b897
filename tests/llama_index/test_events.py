"""What LlamaIndex's observers see: instrumentation, callbacks, token counts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from llama_index.core import KnowledgeGraphIndex
from llama_index.core.callbacks import (
    CallbackManager,
    CBEventType,
    EventPayload,
    LlamaDebugHandler,
    TokenCountingHandler,
)
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.events.llm import LLMChatEndEvent, LLMChatStartEvent
from llama_index.core.instrumentation.events.query import QueryEndEvent
from llama_index.core.instrumentation.span_handlers import SimpleSpanHandler
from llama_index.core.llms import ChatMessage
from llama_support import Recorder

from kblam_integrations.llama_index import KBLaMLLM, KBLaMQueryEngine

pytestmark = pytest.mark.weights  # of the sentence encoder

QUESTION = "What is the launch code of Aurora?"
MESSAGES = [ChatMessage(role="user", content=QUESTION)]


@pytest.fixture
def spans() -> Iterator[SimpleSpanHandler]:
    handler, dispatcher = SimpleSpanHandler(), get_dispatcher()
    dispatcher.add_span_handler(handler)
    yield handler
    dispatcher.span_handlers.remove(handler)


def counted(llm: KBLaMLLM) -> TokenCountingHandler:
    counter = TokenCountingHandler()
    llm.callback_manager = CallbackManager([counter])
    return counter


def test_events_of_a_chat(llm: KBLaMLLM, events: Recorder) -> None:
    reply = llm.chat(MESSAGES, max_tokens=2)
    assert events.names() == ["LLMChatStartEvent", "LLMChatEndEvent"]
    start, end = events.of(LLMChatStartEvent), events.of(LLMChatEndEvent)
    assert start.model_dict["class_name"] == "kblam_llm"
    assert start.model_dict["adapter"] == llm.kblam.adapter_name
    assert start.additional_kwargs == {"max_tokens": 2}
    assert end.response.raw == reply.raw
    assert start.span_id == end.span_id
    assert start.span_id.startswith("KBLaMLLM.chat-")


async def test_events_of_every_method(llm: KBLaMLLM, events: Recorder) -> None:
    async def names_of(make: Any) -> list[str]:
        events.seen.clear()
        await make
        return events.names()

    async def exhaust(pieces: Any) -> None:
        async for _ in await pieces:
            pass

    chat = ["LLMChatStartEvent", "LLMChatEndEvent"]
    completion = ["LLMCompletionStartEvent", "LLMCompletionEndEvent"]
    assert await names_of(llm.achat(MESSAGES)) == chat
    assert await names_of(llm.acomplete(QUESTION)) == completion
    streamed = await names_of(exhaust(llm.astream_chat(MESSAGES)))
    assert (streamed[0], streamed[-1]) == tuple(chat)
    assert set(streamed[1:-1]) == {"LLMChatInProgressEvent"}
    streamed = await names_of(exhaust(llm.astream_complete(QUESTION)))
    assert (streamed[0], streamed[-1]) == tuple(completion)
    assert set(streamed[1:-1]) == {"LLMCompletionInProgressEvent"}
    events.seen.clear()
    list(llm.stream_chat(MESSAGES))
    assert (events.names()[0], events.names()[-1]) == tuple(chat)


def test_an_error_while_streaming_is_an_event(llm: KBLaMLLM, events: Recorder) -> None:
    debug = LlamaDebugHandler(print_trace_on_end=False)
    llm.callback_manager = CallbackManager([debug])
    with pytest.raises(ValueError, match="1024"):
        list(llm.stream_complete("very " * 1200))
    assert "ExceptionEvent" in events.names()
    ((_, end),) = debug.get_event_pairs(CBEventType.LLM)
    assert EventPayload.EXCEPTION in end.payload


async def test_token_counters_read_the_usage(llm: KBLaMLLM) -> None:
    usage = llm.chat(MESSAGES).raw["usage"]

    async def astream() -> None:
        async for _ in await llm.astream_chat(MESSAGES):
            pass

    for call in (
        lambda: llm.chat(MESSAGES),
        lambda: llm.complete(QUESTION),
        lambda: list(llm.stream_chat(MESSAGES)),
        lambda: list(llm.stream_complete(QUESTION)),
        lambda: llm.achat(MESSAGES),
        astream,
    ):
        counter = counted(llm)
        result = call()
        if hasattr(result, "__await__"):
            await result
        assert counter.prompt_llm_token_count == usage["prompt_tokens"]
        assert counter.completion_llm_token_count == usage["completion_tokens"]


@pytest.mark.parametrize("streaming", [False, True])
async def test_events_of_a_query(
    kg_index: KnowledgeGraphIndex, events: Recorder, spans: SimpleSpanHandler, streaming: bool
) -> None:
    debug = LlamaDebugHandler(print_trace_on_end=False)
    manager = CallbackManager([debug])
    engine = KBLaMQueryEngine.from_index(kg_index, streaming=streaming, callback_manager=manager)
    for respond in (lambda: engine.query(QUESTION), lambda: engine.aquery(QUESTION)):
        events.seen.clear()
        debug.flush_event_logs()
        response = respond()
        if hasattr(response, "__await__"):
            response = await response
        if not streaming:
            assert events.names() == [
                "QueryStartEvent",
                "LLMChatStartEvent",
                "LLMChatEndEvent",
                "QueryEndEvent",
            ]
            assert events.of(QueryEndEvent).response.source_nodes
        else:
            assert events.names()[:2] == ["QueryStartEvent", "LLMChatStartEvent"]
            if hasattr(response, "async_response_gen"):
                await response.get_response()
            else:
                response.get_response()
            assert "LLMChatEndEvent" in events.names()
        assert len(debug.get_event_pairs(CBEventType.QUERY)) == 1
        assert len(debug.get_event_pairs(CBEventType.LLM)) == 1
    names = {span.id_.split("-")[0] for span in spans.completed_spans}
    assert {"KBLaMQueryEngine.query", "KBLaMQueryEngine._query"} <= names
