"""What callbacks and traces are told, and the rate limiter."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.rate_limiters import InMemoryRateLimiter
from langchain_core.tracers.run_collector import RunCollectorCallbackHandler
from tiny_kblam import FACTS

from kblam.knowledge import KnowledgeStore
from kblam_integrations.langchain import KBLaMChat

QUESTION = "What is the office of Project Heron?"


class Handler(BaseCallbackHandler):
    def __init__(self) -> None:
        self.started: list[dict[str, Any]] = []
        self.ended: list[Any] = []
        self.tokens: list[str] = []

    def on_chat_model_start(self, serialized, messages, **kwargs):
        self.started.append(kwargs)

    def on_llm_new_token(self, token, **kwargs):
        self.tokens.append(token)

    def on_llm_end(self, response, **kwargs):
        self.ended.append(response)


@pytest.fixture
def chat(make: Callable[..., KBLaMChat]) -> KBLaMChat:
    return make(kb=FACTS, max_tokens=16)


@pytest.fixture(params=["invoke", "stream", "batch", "ainvoke", "astream", "abatch"])
def call(request: pytest.FixtureRequest) -> Callable[..., None]:
    async def asynchronously(model: Any, *args: Any, **kwargs: Any) -> None:
        if request.param == "astream":
            async for _ in model.astream(*args, **kwargs):
                pass
        else:
            await getattr(model, request.param)(*args, **kwargs)

    def call(model: Any, question: str, *args: Any, **kwargs: Any) -> None:
        asked = [question] if "batch" in request.param else question
        if request.param.startswith("a"):
            asyncio.run(asynchronously(model, asked, *args, **kwargs))
        else:
            for _ in getattr(model, request.param)(asked, *args, **kwargs):
                pass

    return call


def test_a_run_names_the_model_and_the_facts(chat: KBLaMChat, call: Callable[..., None]) -> None:
    handler = Handler()
    call(chat, QUESTION, {"callbacks": [handler]}, max_tokens=7)
    (started,) = handler.started
    metadata = started["metadata"]
    assert metadata["ls_provider"] == "kblam"
    assert metadata["ls_model_name"] == chat.kblam.model_name
    assert metadata["ls_model_type"] == "chat"
    assert metadata["ls_max_tokens"] == 7
    assert metadata["kb_fingerprint"] == chat.kb.fingerprint
    assert metadata["kb_facts"] == len(FACTS)
    params = started["invocation_params"]
    assert params["kb_fingerprint"] == chat.kb.fingerprint
    assert params["adapter_fingerprint"] == chat.kblam.adapter_fingerprint
    assert params["max_tokens"] == 7
    (ended,) = handler.ended
    message = ended.generations[0][0].message
    assert message.usage_metadata["output_tokens"] > 0
    assert message.response_metadata["kb_fingerprint"] == chat.kb.fingerprint


def test_the_number_of_facts_is_that_of_the_view(chat: KBLaMChat) -> None:
    handler = Handler()
    config = {"callbacks": [handler], "configurable": {"kb_view": {"entity": "Aurora"}}}
    chat.invoke(QUESTION, config)
    chat.kb.add([("Aurora", "site", "Faro")])
    chat.invoke(QUESTION, config)
    chat.bind(view={"entity": ["Borealis"]}).invoke(QUESTION, {"callbacks": [handler]})
    assert [started["metadata"]["kb_facts"] for started in handler.started] == [2, 3, 2]


@pytest.mark.parametrize("way", ["setting", "bound", "configured", "argument", "attached"])
def test_what_a_call_may_not_read_has_no_part_in_its_trace(
    make: Callable[..., KBLaMChat], call: Callable[..., None], way: str
) -> None:
    handler = Handler()
    with KnowledgeStore.from_source(FACTS) as store:
        aurora = store.view(entity="Aurora")
        config: dict[str, Any] = {"callbacks": [handler]}
        arguments: dict[str, Any] = {}
        model: Any = make(kb=store, max_tokens=2)
        if way == "setting":
            model = make(kb=store, max_tokens=2, view=aurora)
        elif way == "bound":
            model = model.bind(view=aurora)
        elif way == "configured":
            config["configurable"] = {"kb_view": aurora}
        elif way == "argument":
            arguments["view"] = aurora
        else:
            attached = model.kblam.with_options().attach(store, view=aurora)
            model = KBLaMChat(model=attached, max_tokens=2)
        call(model, QUESTION, config, **arguments)
        store.add([("Borealis", "codename", "Hidden Otter")])
        call(model, QUESTION, config, **arguments)
        same, still = map(_told, handler.started)
        assert same == still
        assert store.fingerprint not in same
        store.add([("Aurora", "site", "Faro")])
        call(model, QUESTION, config, **arguments)
        assert _told(handler.started[2]) != same


def _told(started: dict[str, Any]) -> str:
    return repr([started["metadata"], started["invocation_params"]])


def test_a_model_without_facts_says_so(make: Callable[..., KBLaMChat]) -> None:
    handler = Handler()
    make(max_tokens=2).invoke(QUESTION, {"callbacks": [handler]})
    assert "kb_facts" not in handler.started[0]["metadata"]
    assert handler.started[0]["invocation_params"]["kb_fingerprint"] is None


def test_a_tracer_sees_the_run(chat: KBLaMChat) -> None:
    collector = RunCollectorCallbackHandler()
    chat.invoke(QUESTION, {"callbacks": [collector], "run_name": "ask", "tags": ["a"]})
    (run,) = collector.traced_runs
    assert (run.name, run.run_type, run.error) == ("ask", "llm", None)
    assert run.extra["metadata"]["kb_fingerprint"] == chat.kb.fingerprint
    assert run.outputs["generations"][0][0]["text"] == "Ljubljana"


def test_every_piece_is_told(chat: KBLaMChat) -> None:
    handler = Handler()
    pieces = [piece.content for piece in chat.stream(QUESTION, {"callbacks": [handler]})]
    assert "".join(handler.tokens) == "".join(pieces) == "Ljubljana"


class TestRateLimiter:
    def test_calls_wait_for_it(
        self, make: Callable[..., KBLaMChat], call: Callable[..., None]
    ) -> None:
        limiter = InMemoryRateLimiter(
            requests_per_second=4, check_every_n_seconds=0.01, max_bucket_size=1
        )
        chat = make(kb=FACTS, max_tokens=1, rate_limiter=limiter)
        started = time.monotonic()
        for _ in range(3):
            call(chat, QUESTION)
        # The bucket begins empty: three calls take three quarters of a second.
        assert time.monotonic() - started > 0.7

    @pytest.mark.parametrize("asynchronous", [False, True])
    def test_each_input_of_a_batch_counts(
        self, make: Callable[..., KBLaMChat], asynchronous: bool
    ) -> None:
        limiter = InMemoryRateLimiter(
            requests_per_second=8, check_every_n_seconds=0.01, max_bucket_size=1
        )
        chat = make(kb=FACTS, max_tokens=1, rate_limiter=limiter)
        started = time.monotonic()
        if asynchronous:
            asyncio.run(chat.abatch([QUESTION] * 6))
        else:
            chat.batch([QUESTION] * 6)
        assert time.monotonic() - started > 0.7

    def test_configured_variants_share_it(self, make: Callable[..., KBLaMChat]) -> None:
        limiter = InMemoryRateLimiter()
        chat = make(kb=FACTS, rate_limiter=limiter)
        assert chat.bind(view={"entity": "Aurora"}).rate_limiter is limiter
        assert chat.model_copy(update={"max_tokens": 2}).rate_limiter is limiter
