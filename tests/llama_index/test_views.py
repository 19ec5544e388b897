"""Views narrow each other, in every way of asking, and calls that wait for their turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from llama_index.core.llms import ChatMessage
from tiny_kblam import WordEncoder, save_tiny

from kblam.errors import ConfigError
from kblam.knowledge import KnowledgeStore, Triple
from kblam.model import KBLaM
from kblam_integrations.llama_index import KBLaMLLM, KBLaMQueryEngine

QUESTION = "What is the budget of Aurora?"
MESSAGES = [ChatMessage(role="user", content=QUESTION)]
FACTS = [
    Triple("Aurora", "budget", f"{amount} euros", metadata={"team": team, "year": year})
    for amount, team, year in ((1, "north", 2030), (2, "north", 2031), (3, "south", 2031))
]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> KBLaM:
    """A tiny model whose answer is the value of the fact asked for."""
    encoder = WordEncoder()
    folders = save_tiny(tmp_path_factory.mktemp("tiny"), encoder, copies="after a colon")
    return KBLaM.from_pretrained(folders.base, adapter=folders.adapter, encoder=encoder)


@pytest.fixture
def store() -> Iterator[KnowledgeStore]:
    with KnowledgeStore.from_source(FACTS) as store:
        yield store


@pytest.fixture
def llm(tiny: KBLaM, store: KnowledgeStore) -> KBLaMLLM:
    """Of the north's facts, those of 2031."""
    north = tiny.with_options().attach(store, view=store.view(team="north"))
    return KBLaMLLM(model=north, view=store.view(year=2031))


async def _said(pieces: Any) -> str:
    return "".join([piece.delta or "" async for piece in await pieces])


async def _chat(llm: KBLaMLLM, **call: Any) -> str:
    return str(llm.chat(MESSAGES, **call).message.content)


async def _achat(llm: KBLaMLLM, **call: Any) -> str:
    return str((await llm.achat(MESSAGES, **call)).message.content)


async def _acomplete(llm: KBLaMLLM, **call: Any) -> str:
    return (await llm.acomplete(QUESTION, **call)).text


async def _complete(llm: KBLaMLLM, **call: Any) -> str:
    return llm.complete(QUESTION, **call).text


async def _stream_chat(llm: KBLaMLLM, **call: Any) -> str:
    return "".join(piece.delta or "" for piece in llm.stream_chat(MESSAGES, **call))


async def _stream_complete(llm: KBLaMLLM, **call: Any) -> str:
    return "".join(piece.delta or "" for piece in llm.stream_complete(QUESTION, **call))


async def _astream_chat(llm: KBLaMLLM, **call: Any) -> str:
    return await _said(llm.astream_chat(MESSAGES, **call))


async def _astream_complete(llm: KBLaMLLM, **call: Any) -> str:
    return await _said(llm.astream_complete(QUESTION, **call))


WAYS = [
    _chat,
    _complete,
    _stream_chat,
    _stream_complete,
    _achat,
    _acomplete,
    _astream_chat,
    _astream_complete,
]


@pytest.mark.parametrize("ask", WAYS)
async def test_views_narrow_each_other(
    llm: KBLaMLLM, store: KnowledgeStore, ask: Callable[..., Any]
) -> None:
    # What the model's own facts, the setting and the call all show.
    assert await ask(llm) == "2 euros"
    assert await ask(llm, view=store.view(entity="Aurora")) == "2 euros"
    # Nothing that a call asks for widens it.
    for view in (store.view(team="south"), store.view(year=2030)):
        assert await ask(llm, view=view) == llm.kblam.refusal
        assert llm.kblam.ask(QUESTION, view=llm.view & view).refused


@pytest.mark.parametrize("ask", WAYS)
async def test_what_is_no_view_is_an_error(llm: KBLaMLLM, ask: Callable[..., Any]) -> None:
    with pytest.raises(ConfigError, match=r"store\.view"):
        await ask(llm, view={"team": "north"})


async def test_a_stream_is_of_the_call_that_made_it(llm: KBLaMLLM, store: KnowledgeStore) -> None:
    pieces = llm.stream_complete(QUESTION)
    later = await llm.astream_complete(QUESTION)
    llm.view = store.view(entity="Nobody")
    assert "".join(piece.delta for piece in pieces) == "2 euros"
    assert "".join([piece.delta async for piece in later]) == "2 euros"
    assert llm.complete(QUESTION).raw["refused"]
    with pytest.raises(ConfigError, match="wit"):  # at once, not with the first piece
        llm.stream_complete(QUESTION, wit=3)


def test_a_query_engine_reads_what_its_model_may(llm: KBLaMLLM, store: KnowledgeStore) -> None:
    engine = KBLaMQueryEngine(llm)
    (node,) = engine.query(QUESTION).source_nodes
    assert node.metadata["value"] == "2 euros"
    llm.view = store.view(team="south")
    response = engine.query(QUESTION)
    assert (response.response, response.source_nodes) == (llm.kblam.refusal, [])
    assert response.metadata["refused"]


def test_an_adapter_is_told_by_its_numbers(llm: KBLaMLLM) -> None:
    data = llm.to_dict()
    assert data["adapter_fingerprint"] == llm.kblam.adapter_fingerprint
    assert data["adapter_fingerprint"]


@pytest.mark.parametrize("ask", [_achat, _acomplete, _astream_chat, _astream_complete])
async def test_who_leaves_while_waiting_is_not_generated_for(
    llm: KBLaMLLM, ask: Callable[..., Any]
) -> None:
    forwards: list[None] = []
    hook = llm.kblam.base.register_forward_hook(lambda *_: forwards.append(None))
    try:
        with llm.kblam._engine.lock:
            task = asyncio.create_task(ask(llm))
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await llm.acomplete(QUESTION, max_tokens=1)
        assert len(forwards) == 1
    finally:
        hook.remove()


def test_what_is_hidden_has_no_part_in_the_settings(llm: KBLaMLLM, store: KnowledgeStore) -> None:
    before = llm.to_dict()
    assert before["kb_fingerprint"] != store.fingerprint
    store.add([Triple("Aurora", "budget", "9 euros", metadata={"team": "north", "year": 2030})])
    assert llm.to_dict() == before
    store.add([Triple("Aurora", "budget", "8 euros", metadata={"team": "north", "year": 2031})])
    assert llm.to_dict()["kb_fingerprint"] != before["kb_fingerprint"]


@pytest.mark.parametrize("view", [{}, {"metadata": []}, {"team": "north"}, "north"])
def test_no_model_is_made_with_what_is_no_view(
    tiny: KBLaM, store: KnowledgeStore, view: Any
) -> None:
    with pytest.raises(ConfigError, match=r"store\.view"):
        KBLaMLLM(kb=store, model=tiny, view=view)


def test_a_view_that_was_saved_is_the_same_again(tiny: KBLaM, store: KnowledgeStore) -> None:
    view = store.view(team="south")
    llm = KBLaMLLM(kb=store, model=tiny, view=view.to_dict())
    assert llm.view == view
    assert "3 euros" in llm.complete(QUESTION).text
