"""What chat models share, what tells them apart, and calls that wait for their turn."""

from __future__ import annotations

import asyncio
import gc
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from langchain_core.caches import InMemoryCache
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, trim_messages
from tiny_kblam import FACTS, WordEncoder, save_tiny

from kblam.errors import ConfigError, GenerationTimeoutError
from kblam.knowledge import KnowledgeStore
from kblam_integrations.langchain import KBLaMChat

QUESTION = "What is the office of Project Heron?"


@pytest.fixture
def store() -> Iterator[KnowledgeStore]:
    with KnowledgeStore.from_source(FACTS) as store:
        yield store


@pytest.fixture
def chat(make: Callable[..., KBLaMChat], store: KnowledgeStore) -> KBLaMChat:
    return make(kb=store, max_tokens=16)


@pytest.fixture
def forwards(chat: KBLaMChat) -> Iterator[list[None]]:
    calls: list[None] = []
    hook = chat.kblam.base.register_forward_hook(lambda *_: calls.append(None))
    yield calls
    hook.remove()


def test_models_over_one_store_encode_it_once(
    make: Callable[..., KBLaMChat], store: KnowledgeStore
) -> None:
    one, two = make(kb=store), make(kb=store, refusal="No idea.")
    assert one.invoke(QUESTION).content == two.invoke(QUESTION).content == "Ljubljana"
    assert one.kblam._attached[0] is two.kblam._attached[0]


def test_an_adapter_trained_again_is_another_cache_entry(
    make: Callable[..., KBLaMChat], store: KnowledgeStore, encoder: WordEncoder, tmp_path: Path
) -> None:
    cache = InMemoryCache()
    settings = {"model": str(tmp_path / "base"), "adapter": str(tmp_path / "adapter")}
    replies = []
    for copies in ("after a colon", "never", "after a colon"):
        save_tiny(tmp_path, encoder, copies=copies)
        chat = make(kb=store, cache=cache, max_tokens=4, **settings)
        replies.append(chat.invoke(QUESTION))
        del chat  # with the weights of the folder as it was
        gc.collect()
    assert replies[0].content != replies[1].content
    assert replies[2].content == replies[0].content
    assert len(cache._cache) == 2


def test_the_number_format_may_be_a_name(make: Callable[..., KBLaMChat]) -> None:
    assert make(dtype="bfloat16").kblam.base.dtype == torch.bfloat16
    with pytest.raises(ConfigError, match="'bfloat16'"):
        make(dtype="half a float")


class TestCounting:
    TURNS = [SystemMessage("Be brief."), AIMessage("Good morning."), HumanMessage("Who?")]

    def test_parts_without_a_question(self, chat: KBLaMChat) -> None:
        counts = [chat.get_num_tokens_from_messages(self.TURNS[:n]) for n in range(4)]
        assert counts[0] == 0
        assert counts == sorted(set(counts))
        assert chat.get_num_tokens_from_messages([AIMessage("")]) > 0

    def test_a_template_that_insists_on_one(
        self, chat: KBLaMChat, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        template = (
            "{% if messages[-1].role != 'user' %}{{ raise_exception('No user query.') }}{% endif %}"
            "{% for m in messages %}{{ m.content }}{% endfor %}"
        )
        monkeypatch.setattr(chat.kblam.tokenizer, "chat_template", template)
        assert chat.get_num_tokens_from_messages(self.TURNS[:2]) > 0
        trimmed = trim_messages(self.TURNS, max_tokens=6, token_counter=chat, strategy="last")
        assert trimmed == self.TURNS[2:]


def test_who_may_see_nothing_is_refused(
    chat: KBLaMChat, make: Callable[..., KBLaMChat], store: KnowledgeStore
) -> None:
    reply = chat.invoke(QUESTION, view={"entity": "Nobody"})
    assert reply.content == chat.kblam.refusal
    assert reply.response_metadata["refused"]
    assert reply.response_metadata["citations"] == []
    assert reply.usage_metadata["output_tokens"] == 0
    assert "".join(c.content for c in chat.stream(QUESTION, view={"entity": "Nobody"})) == (
        chat.kblam.refusal
    )
    aurora = chat.bind(view={"entity": "Aurora"})
    assert not aurora.invoke("What is the launch code of Aurora?").response_metadata["refused"]
    restricted = make(kb=store, view={"entity": "Aurora"})
    assert restricted.invoke(QUESTION, view={"entity": "Project Heron"}).content == (
        chat.kblam.refusal
    )


class TestWaitingForItsTurn:
    @pytest.mark.parametrize("method", ["ainvoke", "astream", "abatch"])
    async def test_who_leaves_is_not_generated_for(
        self, chat: KBLaMChat, forwards: list[None], method: str
    ) -> None:
        async def ask() -> None:
            if method == "ainvoke":
                await chat.ainvoke(QUESTION)
            elif method == "abatch":
                await chat.abatch([QUESTION, QUESTION])
            else:
                async for _ in chat.astream(QUESTION):
                    pass

        with chat.kblam._engine.lock:
            task = asyncio.create_task(ask())
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await chat.ainvoke("What is the budget of Borealis?", max_tokens=1)
        assert len(forwards) == 1

    def test_a_timeout_counts_from_the_call(self, chat: KBLaMChat, forwards: list[None]) -> None:
        with chat.kblam._engine.lock:
            with pytest.raises(GenerationTimeoutError, match=r"within 0\.05 s"):
                chat.invoke(QUESTION, timeout=0.05)
            with pytest.raises(GenerationTimeoutError):
                list(chat.stream(QUESTION, timeout=0.05))
            with pytest.raises(GenerationTimeoutError, match=r"within 0\.05 s"):
                chat.batch([QUESTION, QUESTION], timeout=0.05)
            with pytest.raises(GenerationTimeoutError, match=r"within 0\.05 s"):
                asyncio.run(chat.abatch([QUESTION, QUESTION], timeout=0.05))
        chat.invoke(QUESTION, max_tokens=1)
        assert len(forwards) == 1
        assert chat.invoke(QUESTION, timeout=60).content == "Ljubljana"

    async def test_a_cancelled_batch_stops_generating(
        self, make: Callable[..., KBLaMChat], tmp_path: Path, encoder: WordEncoder
    ) -> None:
        folders = save_tiny(tmp_path, encoder)  # rambles on for as long as it may
        chat = make(model=str(folders.base), adapter=str(folders.adapter), max_tokens=170)
        steps: list[None] = []
        chat.kblam.base.register_forward_hook(lambda *_: steps.append(None))
        task = asyncio.create_task(chat.abatch(["Hello", "Good day"]))
        while len(steps) < 5:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        taken = len(steps)
        with chat.kblam._engine.lock:
            assert len(steps) <= taken + 2
        assert taken < 100


def test_a_loaded_model_keeps_its_own_facts_and_settings(make: Callable[..., KBLaMChat]) -> None:
    with KnowledgeStore.from_source(FACTS) as store:
        kblam = make().kblam.with_options(refusal="No.", grounding="off")
        kblam.attach(store, view=store.view(entity="Project Heron"))
        chat = KBLaMChat(model=kblam, max_tokens=16)
        assert chat.kblam.store is store
        assert (chat.kblam.refusal, chat.kblam.grounding) == ("No.", "off")
        assert chat.invoke(QUESTION).response_metadata["kb_fingerprint"] == store.fingerprint_of(
            kblam.view
        )
        copying = KBLaMChat(model=kblam, grounding="copy", max_tokens=16)
        assert copying.invoke(QUESTION).content == "Ljubljana"
        assert kblam.grounding == "off"
        other = KBLaMChat(model=kblam, kb=[("Aurora", "site", "Faro")])
        assert (len(other.kblam.store), other.kblam.view, kblam.store) == (1, None, store)
        assert copying.as_retriever(k=1).invoke(QUESTION)[0].metadata["value"] == "Ljubljana"
        with pytest.raises(ConfigError, match="encoder"):
            KBLaMChat(model=kblam, encoder="all-MiniLM-L6-v2")
        with pytest.raises(ConfigError, match="pickle"):
            pickle.dumps(chat)
