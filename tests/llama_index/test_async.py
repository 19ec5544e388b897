"""Calls beside an event loop: it stays free, errors arrive, leaving ends the generation."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Iterator
from contextlib import aclosing

import pytest
from llama_index.core.llms import ChatMessage
from llama_support import before_each_pass, fail_at_third, slow, ticks_during

from kblam.errors import PromptTooLongError
from kblam_integrations.llama_index import KBLaMLLM
from kblam_integrations.llama_index._background import Worker

pytestmark = pytest.mark.weights  # of the sentence encoder

QUESTION = "What is the launch code of Aurora?"
MESSAGES = [ChatMessage(role="user", content=QUESTION)]


async def test_async_calls_say_the_same(llm: KBLaMLLM) -> None:
    text = llm.complete(QUESTION).text
    assert (await llm.achat(MESSAGES)).message.content == text
    assert (await llm.acomplete(QUESTION)).text == text
    chat = [piece async for piece in await llm.astream_chat(MESSAGES)]
    completion = [piece async for piece in await llm.astream_complete(QUESTION)]
    for pieces in (chat, completion):
        assert "".join(piece.delta for piece in pieces) == text
        assert pieces[-1].raw["citations"]
        assert pieces[-1].raw["usage"]["completion_tokens"] >= 1
    assert len(chat) > 2
    assert (await llm.acomplete(QUESTION, max_tokens=2)).raw["usage"]["completion_tokens"] == 2


async def test_the_loop_stays_free(llm: KBLaMLLM) -> None:
    async def stream() -> None:
        async for _ in await llm.astream_complete(QUESTION):
            pass

    with before_each_pass(llm, slow):
        assert await ticks_during(lambda: llm.achat(MESSAGES)) > 10
        assert await ticks_during(lambda: llm.acomplete(QUESTION)) > 10
        assert await ticks_during(stream) > 10


async def test_pieces_come_as_they_are_written(llm: KBLaMLLM) -> None:
    came: list[float] = []
    with before_each_pass(llm, slow) as passes:
        async for piece in await llm.astream_chat(MESSAGES):
            if piece.delta:
                came.append(time.perf_counter())
    assert came[0] < passes[-1]


async def test_many_calls_at_once(llm: KBLaMLLM) -> None:
    questions = [QUESTION, "Where was Ada Lovelace born?", "What is the budget of Project Heron?"]
    alone = [llm.complete(question).text for question in questions]
    assert [r.text for r in await asyncio.gather(*map(llm.acomplete, questions))] == alone


@pytest.mark.parametrize("method", ["stream_chat", "stream_complete"])
def test_an_error_while_streaming_is_passed_on(llm: KBLaMLLM, method: str) -> None:
    prompt = MESSAGES if method == "stream_chat" else QUESTION
    with before_each_pass(llm, fail_at_third):
        pieces = getattr(llm, method)(prompt)
        assert next(pieces).delta
        with pytest.raises(RuntimeError, match="out of memory"):
            list(pieces)
    assert llm.complete(QUESTION).text  # and the model is fit for use


@pytest.mark.parametrize("method", ["astream_chat", "astream_complete"])
async def test_an_error_while_streaming_beside_a_loop(llm: KBLaMLLM, method: str) -> None:
    prompt = MESSAGES if method == "astream_chat" else QUESTION
    with before_each_pass(llm, fail_at_third):
        pieces = await getattr(llm, method)(prompt)
        assert (await anext(pieces)).delta
        with pytest.raises(RuntimeError, match="out of memory"):
            await asyncio.wait_for(_exhaust(pieces), 20)
    assert (await llm.acomplete(QUESTION)).text


async def _exhaust(pieces: object) -> None:
    async for _ in pieces:
        pass


async def test_an_error_before_the_first_piece(llm: KBLaMLLM) -> None:
    long = "very " * 1200
    with pytest.raises(PromptTooLongError):
        list(llm.stream_complete(long))
    with pytest.raises(PromptTooLongError):
        await asyncio.wait_for(_exhaust(await llm.astream_complete(long)), 20)
    with pytest.raises(PromptTooLongError):
        await llm.acomplete(long)


async def test_leaving_a_stream_ends_the_generation(llm: KBLaMLLM) -> None:
    with before_each_pass(llm, slow) as passes:
        async with aclosing(await llm.astream_complete(QUESTION, max_tokens=100)) as pieces:
            await anext(pieces)
        await llm.acomplete("Next?", max_tokens=1)  # waits for its turn
        assert len(passes) < 50


@pytest.mark.parametrize("streaming", [False, True])
async def test_cancelling_a_task_ends_the_generation(llm: KBLaMLLM, streaming: bool) -> None:
    async def read() -> None:
        if streaming:
            await _exhaust(await llm.astream_complete(QUESTION, max_tokens=100))
        else:
            await llm.achat(MESSAGES, max_tokens=100)

    with before_each_pass(llm, slow) as passes:
        task = asyncio.create_task(read())
        while len(passes) < 3:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await llm.acomplete("Next?", max_tokens=1)
        assert len(passes) < 50


async def test_the_thread_sees_the_callers_context() -> None:
    where: contextvars.ContextVar[str] = contextvars.ContextVar("where", default="nowhere")
    where.set("here")
    worker = Worker()

    def items() -> Iterator[str]:
        yield where.get()

    assert [item async for item in worker.iterate(items)] == ["here"]


async def test_what_is_left_before_its_turn_never_starts() -> None:
    worker = Worker()
    begun: list[str] = []

    def items(name: str) -> Iterator[int]:
        begun.append(name)
        for number in range(3):
            time.sleep(0.02)
            yield number

    first = worker.iterate(lambda: items("first"))
    assert await anext(first) == 0
    second = asyncio.create_task(anext(worker.iterate(lambda: items("second"))))
    await asyncio.sleep(0.001)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    assert [item async for item in first] == [1, 2]
    assert [item async for item in worker.iterate(lambda: items("third"))] == [0, 1, 2]
    assert begun == ["first", "third"]
