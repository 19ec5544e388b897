"""LangChain's cache and the facts: a changed store must never be answered from the cache."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.globals import set_llm_cache
from rdflib import Graph, Literal, URIRef

from kblam.knowledge import KnowledgeStore
from kblam_integrations.langchain import KBLaMChat

pytestmark = pytest.mark.weights

QUESTION = "Where was Ada Lovelace born?"


@pytest.fixture
def chat(store: KnowledgeStore) -> KBLaMChat:
    return KBLaMChat(kb=store, max_tokens=2, cache=InMemoryCache())


def test_the_same_question_is_generated_once(chat, calls):
    first = chat.invoke(QUESTION)
    second = chat.invoke(QUESTION)
    assert calls.total == 1
    assert second.content == first.content
    assert second.response_metadata == first.response_metadata
    assert second.content_blocks == first.content_blocks


@pytest.mark.parametrize(
    "change",
    [
        lambda store: store.add([("Ada Lovelace", "field", "mathematics")]),
        lambda store: store.upsert([("Ada Lovelace", "birthplace", "Reykjavik")]),
        lambda store: store.remove(entity="Ada Lovelace"),
    ],
    ids=["add", "upsert", "remove"],
)
def test_a_changed_store_is_a_new_question(chat, store, calls, change):
    before = chat.invoke(QUESTION)
    change(store)
    after = chat.invoke(QUESTION)
    assert calls.total == 2
    assert after.response_metadata["kb_fingerprint"] == store.fingerprint
    assert after.response_metadata["kb_fingerprint"] != before.response_metadata["kb_fingerprint"]


async def test_also_asynchronously(chat, store, calls):
    await chat.ainvoke(QUESTION)
    await chat.ainvoke(QUESTION)
    assert calls.total == 1
    store.add([("Ada Lovelace", "field", "mathematics")])
    reply = await chat.ainvoke(QUESTION)
    assert calls.total == 2
    assert reply.response_metadata["kb_fingerprint"] == store.fingerprint


def test_a_change_of_the_graph_behind_the_store_is_a_new_question(calls):
    graph = Graph()
    ada = URIRef("http://example.org/Ada_Lovelace")
    graph.add((ada, URIRef("http://example.org/birthplace"), Literal("London")))
    chat = KBLaMChat(kb=graph, max_tokens=2, cache=InMemoryCache())
    before = chat.invoke(QUESTION)
    chat.invoke(QUESTION)
    assert calls.total == 1
    graph.add((ada, URIRef("http://example.org/field"), Literal("mathematics")))
    after = chat.invoke(QUESTION)
    assert calls.total == 2
    assert after.response_metadata["kb_fingerprint"] != before.response_metadata["kb_fingerprint"]


def test_views_and_options_do_not_share_entries(chat, store, calls):
    chat.invoke(QUESTION)
    chat.invoke(QUESTION, view=store.view(entity="Aurora"))
    chat.invoke(QUESTION, view=store.view(entity="Ada Lovelace"))
    chat.invoke(QUESTION, max_tokens=3)
    chat.invoke(QUESTION, stop=["."])
    assert calls.total == 5
    chat.invoke(QUESTION, view=store.view(entity="Aurora"))
    assert calls.total == 5


def test_a_change_that_a_view_hides_is_no_new_question(chat, store, calls):
    view = store.view(entity="Aurora")
    before = chat.invoke(QUESTION, view=view)
    store.add([("Ada Lovelace", "field", "mathematics")])
    assert chat.invoke(QUESTION, view=view).response_metadata == before.response_metadata
    assert calls.total == 1
    store.add([("Aurora", "site", "Faro")])
    chat.invoke(QUESTION, view=view)
    assert calls.total == 2


@pytest.fixture
def global_cache() -> Iterator[None]:
    set_llm_cache(InMemoryCache())
    yield
    set_llm_cache(None)


@pytest.mark.usefixtures("global_cache")
def test_two_models_with_different_facts_do_not_share_entries(calls):
    one = KBLaMChat(kb=[("Ada Lovelace", "birthplace", "London")], max_tokens=2)
    two = KBLaMChat(kb=[("Ada Lovelace", "birthplace", "Reykjavik")], max_tokens=2)
    bare = KBLaMChat(max_tokens=2)
    for chat in (one, two, bare):
        chat.invoke(QUESTION)
    assert calls.total == 3
    again = KBLaMChat(kb=[("Ada Lovelace", "birthplace", "London")], max_tokens=2)
    again.invoke(QUESTION)
    assert calls.total == 3


def test_the_model_is_not_serialised_without_its_facts(chat):
    assert not KBLaMChat.is_lc_serializable()
    assert "kb_fingerprint" in chat._get_llm_string()
