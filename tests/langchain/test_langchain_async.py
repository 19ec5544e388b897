"""Asynchronous calls: the loop stays free, errors arrive, leaving ends the generation."""

from __future__ import annotations

import asyncio
import time

import pytest
from langchain_core.callbacks import AsyncCallbackHandler

from kblam.errors import PromptTooLongError
from kblam_integrations.langchain import KBLaMChat

pytestmark = pytest.mark.weights

QUESTION = "Where was Ada Lovelace born?"
STORY = "Tell me a story about a fox and a crow."


async def assert_stops(chat: KBLaMChat, calls) -> None:
    """The model is free again long before it has written all it was asked for."""
    steps = calls.steps
    await asyncio.to_thread(chat.invoke, "Hello", max_tokens=1)
    # The token under way, perhaps one more before the news arrives, and the call above.
    assert calls.steps <= steps + 8


async def test_ainvoke_and_astream_say_what_invoke_says(chat):
    reply = chat.invoke(QUESTION)
    assert (await chat.ainvoke(QUESTION)).content == reply.content
    chunks = [chunk async for chunk in chat.astream(QUESTION)]
    assert "".join(chunk.content for chunk in chunks) == reply.content
    assert chunks[-1].response_metadata["citations"] == reply.response_metadata["citations"]
    assert chunks[-1].chunk_position == "last"


@pytest.mark.parametrize("method", ["ainvoke", "astream", "abatch"])
async def test_the_loop_stays_free(bare, method):
    async def generate() -> None:
        if method == "ainvoke":
            await bare.ainvoke(STORY, max_tokens=20)
        elif method == "abatch":
            await bare.abatch([STORY, STORY], max_tokens=20)
        else:
            async for _ in bare.astream(STORY, max_tokens=20):
                pass

    ticks = 0
    started = time.perf_counter()
    task = asyncio.create_task(generate())
    while not task.done():
        await asyncio.sleep(0.005)
        ticks += 1
    await task
    # A blocked loop ticks once or twice, however long it takes.
    assert ticks >= 20 * min(1.0, time.perf_counter() - started)


async def test_pieces_arrive_one_by_one(bare):
    started = time.perf_counter()
    times = [time.perf_counter() - started async for _ in bare.astream(STORY, max_tokens=12)]
    assert len(times) > 3
    assert times[0] < 0.7 * times[-1]


async def test_errors_arrive(chat):
    too_long = "word " * 8_500
    with pytest.raises(PromptTooLongError):
        await chat.ainvoke(too_long)
    with pytest.raises(PromptTooLongError):
        async for _ in chat.astream(too_long):
            pass
    with pytest.raises(PromptTooLongError):
        await chat.abatch([QUESTION, too_long])


async def test_a_cancelled_call_stops_generating(bare, calls):
    task = asyncio.create_task(bare.ainvoke(STORY, max_tokens=400))
    while calls.steps == 0:
        await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await assert_stops(bare, calls)


async def test_a_timeout_of_asyncio_stops_generating(bare, calls):
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(bare.ainvoke(STORY, max_tokens=400), timeout=0.3)
    await assert_stops(bare, calls)


async def test_a_stream_left_early_stops_generating(bare, calls):
    stream = bare.astream(STORY, max_tokens=400)
    await anext(stream)
    await stream.aclose()
    await assert_stops(bare, calls)


async def test_many_calls_at_once_each_get_their_answer(chat):
    questions = [QUESTION, "What is the launch code of Aurora?", "Say hello."] * 2
    chat = chat.bind(max_tokens=6)
    expected = {question: chat.invoke(question).content for question in set(questions)}
    replies = await asyncio.gather(*(chat.ainvoke(question) for question in questions))
    assert [reply.content for reply in replies] == [expected[question] for question in questions]


async def test_asynchronous_callbacks_are_called_in_the_loop(chat):
    class Handler(AsyncCallbackHandler):
        def __init__(self) -> None:
            self.tokens: list[str] = []
            self.ended = 0

        async def on_llm_new_token(self, token, **kwargs):
            assert asyncio.get_running_loop() is loop
            self.tokens.append(token)

        async def on_llm_end(self, response, **kwargs):
            assert asyncio.get_running_loop() is loop
            self.ended += 1

    loop = asyncio.get_running_loop()
    handler = Handler()
    config = {"callbacks": [handler]}
    text = "".join([chunk.content async for chunk in chat.astream(QUESTION, config)])
    assert "".join(handler.tokens) == text
    await chat.ainvoke(QUESTION, config, max_tokens=1)
    await chat.abatch([QUESTION, QUESTION], config, max_tokens=1)
    assert handler.ended == 4
