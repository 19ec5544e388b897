"""Batches: generated together, each input with its own callbacks, cache entry and error."""

from __future__ import annotations

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler

from kblam.errors import GenerationTimeoutError, PromptTooLongError
from kblam_integrations.langchain import KBLaMChat

pytestmark = [pytest.mark.weights, pytest.mark.long]

QUESTIONS = [
    "Where was Ada Lovelace born?",
    "Say hello.",
    "What is the launch code of Aurora, the project that nobody has ever heard of before?",
]
TOO_LONG = "word " * 8_500


@pytest.fixture(params=["batch", "abatch"])
def batch(request, chat):
    """Runs a batch of the chat, or of another, in both ways."""
    import asyncio

    def run(inputs, config=None, model=None, **kwargs):
        model = model or chat
        if request.param == "batch":
            return model.batch(inputs, config, **kwargs)
        return asyncio.run(model.abatch(inputs, config, **kwargs))

    return run


def test_a_batch_says_what_single_calls_say(chat, batch, calls):
    single = [chat.invoke(question) for question in QUESTIONS]
    together = batch(QUESTIONS)
    assert calls.batches == [3]
    for one, other in zip(single, together, strict=True):
        assert one.content == other.content
        assert one.usage_metadata == other.usage_metadata
        assert one.response_metadata["refused"] == other.response_metadata["refused"]
        cited = [c["id"] for c in one.response_metadata["citations"]]
        assert cited == [c["id"] for c in other.response_metadata["citations"]]


def test_batch_size_and_max_concurrency_bound_it(chat, store, batch, calls):
    small = KBLaMChat(kb=store, max_tokens=1, batch_size=2)
    assert len(batch(["Hello"] * 5, model=small)) == 5
    assert calls.batches == [2, 2]  # and one by itself
    calls.batches.clear()
    batch(["Hello"] * 6, {"max_concurrency": 3}, max_tokens=1)
    assert calls.batches == [3, 3]


def test_nothing_and_one(batch, calls):
    assert batch([]) == []
    assert len(batch(["Hello"], max_tokens=1)) == 1
    assert calls.batches == []


def test_each_input_gets_its_own_error(batch):
    replies = batch([QUESTIONS[0], TOO_LONG, QUESTIONS[1]], return_exceptions=True, max_tokens=4)
    assert isinstance(replies[1], PromptTooLongError)
    assert replies[0].content
    assert replies[2].content
    with pytest.raises(PromptTooLongError):
        batch([QUESTIONS[0], TOO_LONG])


def test_an_input_that_fails_before_generating_holds_nobody_up(batch, calls):
    image = [("human", [{"type": "image", "url": "https://example.com/cat.png"}])]
    replies = batch(["Hello", image, "Hello"], return_exceptions=True, max_tokens=1)
    assert [isinstance(reply, Exception) for reply in replies] == [False, True, False]
    assert calls.batches == [2]


def test_cached_inputs_are_not_generated_again(store, batch, calls):
    chat = KBLaMChat(kb=store, max_tokens=4, cache=InMemoryCache())
    known = chat.invoke(QUESTIONS[0])
    replies = batch(QUESTIONS, model=chat)
    assert replies[0].content == known.content
    assert calls.batches == [2]


def test_callbacks_of_each_input(batch):
    class Handler(BaseCallbackHandler):
        def __init__(self) -> None:
            self.events: list[str] = []

        def on_chat_model_start(self, serialized, messages, **kwargs):
            self.events.append(messages[0][0].content)

        def on_llm_end(self, response, **kwargs):
            self.events.append("end")

    handlers = [Handler() for _ in QUESTIONS]
    batch(QUESTIONS, [{"callbacks": [handler]} for handler in handlers], max_tokens=1)
    assert [handler.events for handler in handlers] == [[q, "end"] for q in QUESTIONS]


def test_a_timeout_holds_for_those_generated_together(chat, batch, calls):
    assert len(batch(["Hello"] * 3, max_tokens=1, timeout=60)) == 3
    assert calls.batches == [3]
    bare = KBLaMChat(max_tokens=200)
    with pytest.raises(GenerationTimeoutError, match=r"within 0\.1 s"):
        batch(["Tell me a story."] * 2, model=bare, timeout=0.1)
    steps = calls.steps
    bare.invoke("Hello", max_tokens=1)
    assert calls.steps <= steps + 8


def test_views_of_their_own_for_inputs(chat, batch):
    question = "What is the launch code of Aurora?"
    seen = [{"entity": "Aurora"}, {"entity": "Ada Lovelace"}, {"property": "launch code"}]
    replies = batch([question] * 4, [*({"configurable": {"kb_view": view}} for view in seen), {}])
    assert ["QX-7719" in reply.content for reply in replies] == [True, False, True, True]
    assert [bool(reply.response_metadata["citations"]) for reply in replies] == [
        True,
        False,
        True,
        True,
    ]
