"""Attention as a retriever: the facts that a question is about, as documents."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import ConfigurableField, RunnablePassthrough
from langchain_tests.integration_tests import RetrieversIntegrationTests
from pydantic import ValidationError
from tiny_kblam import FACTS

from kblam.errors import ConfigError
from kblam.knowledge import KnowledgeStore
from kblam_integrations.langchain import KBLaMChat, KBLaMRetriever

QUESTION = "What is the office of Project Heron?"


@pytest.fixture
def store() -> Iterator[KnowledgeStore]:
    with KnowledgeStore.from_source(FACTS) as store:
        store.add(
            {"entity": "Aurora", "property": "site", "value": "Faro", "page": 7, "score": "x"}
        )
        yield store


@pytest.fixture
def retriever(tiny: dict[str, Any], store: KnowledgeStore) -> KBLaMRetriever:
    return KBLaMRetriever(kb=store, k=3, **tiny)


@pytest.mark.weights
class TestStandard(RetrieversIntegrationTests):
    @property
    def retriever_constructor(self) -> type[KBLaMRetriever]:
        return KBLaMRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"kb": FACTS}

    @property
    def retriever_query_example(self) -> str:
        return QUESTION


@pytest.mark.weights
def test_with_the_default_model_the_fact_asked_for_is_first() -> None:
    first, *_ = KBLaMRetriever(kb=FACTS).invoke("Who leads Borealis?")
    assert first.page_content == "The project lead of Borealis is Tomas Lindqvist."
    assert first.metadata["score"] > 0.5


def test_a_document_is_a_fact(retriever: KBLaMRetriever, store: KnowledgeStore) -> None:
    documents = retriever.invoke("What is the site of Aurora?")
    assert len(documents) == 3
    first = documents[0]
    fact = store.get(first.id)
    assert first.page_content == fact.statement == "The site of Aurora is Faro."
    score = first.metadata.pop("score")
    assert first.metadata == {
        "id": fact.id,
        "entity": "Aurora",
        "property": "site",
        "value": "Faro",
        "rank": 1,
        "page": 7,
    }
    scores = [score, *(document.metadata["score"] for document in documents[1:])]
    assert scores == sorted(scores, reverse=True)
    assert all(isinstance(score, float) and 0 < score <= 1 for score in scores)
    assert [document.metadata["rank"] for document in documents[1:]] == [2, 3]


def test_k_of_a_call(retriever: KBLaMRetriever) -> None:
    assert len(retriever.invoke(QUESTION, k=1)) == 1
    assert len(retriever.bind(k=2).invoke(QUESTION)) == 2
    assert len(retriever.invoke(QUESTION, k=100)) == 4  # all that this adapter reads
    with pytest.raises(ConfigError, match="got 0"):
        retriever.invoke(QUESTION, k=0)


def test_a_changed_fact_is_retrieved(retriever: KBLaMRetriever, store: KnowledgeStore) -> None:
    store.upsert([("Project Heron", "office", "Porto")])
    assert retriever.invoke(QUESTION)[0].metadata["value"] == "Porto"


def test_a_view_hides_facts(retriever: KBLaMRetriever, store: KnowledgeStore) -> None:
    def entities(documents: list[Document]) -> set[str]:
        return {document.metadata["entity"] for document in documents}

    aurora = store.view(entity="Aurora")
    assert entities(retriever.invoke(QUESTION, view=aurora)) == {"Aurora"}
    restricted = retriever.bind(view={"entity": ["Aurora", "Borealis"]})
    assert entities(restricted.invoke(QUESTION)) == {"Aurora", "Borealis"}
    config = {"configurable": {"kb_view": {"entity": ["Borealis", "Project Heron"]}}}
    assert entities(restricted.invoke(QUESTION, config)) == {"Borealis"}
    assert entities(asyncio.run(restricted.ainvoke(QUESTION, config))) == {"Borealis"}
    assert restricted.invoke(QUESTION, view={"entity": "Project Heron"}) == []


def test_of_a_chat_model(make: Callable[..., KBLaMChat], store: KnowledgeStore) -> None:
    chat = make(kb=store, view={"entity": "Aurora"})
    retriever = chat.as_retriever(k=2)
    assert retriever.kblam.base is chat.kblam.base
    assert retriever.kblam._attached[0] is chat.kblam._attached[0]
    assert [d.metadata["entity"] for d in retriever.invoke(QUESTION)] == ["Aurora"] * 2
    with pytest.raises(ConfigError, match="Pass kb="):
        make().as_retriever()


async def test_the_loop_stays_free(retriever: KBLaMRetriever) -> None:
    with retriever.kblam._engine.lock:
        task = asyncio.create_task(retriever.ainvoke(QUESTION))
        await asyncio.sleep(0.05)
        assert not task.done()  # and this runs
    assert [d.id for d in await task] == [d.id for d in retriever.invoke(QUESTION)]


async def test_who_leaves_while_waiting_is_not_answered(retriever: KBLaMRetriever) -> None:
    await retriever.ainvoke(QUESTION)
    forwards: list[None] = []
    hook = retriever.kblam.base.register_forward_hook(lambda *_: forwards.append(None))
    with retriever.kblam._engine.lock:
        tasks = [asyncio.create_task(retriever.ainvoke(QUESTION)) for _ in range(3)]
        await asyncio.sleep(0.05)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    await retriever.ainvoke(QUESTION)
    hook.remove()
    assert len(forwards) == 1


def test_in_a_chain(retriever: KBLaMRetriever) -> None:
    def texts(documents: list[Document]) -> str:
        return " ".join(document.page_content for document in documents)

    prompt = ChatPromptTemplate.from_template("{facts}\n\n{question}")
    chain = {"facts": retriever | texts, "question": RunnablePassthrough()} | prompt
    turns = (chain | (lambda value: value.to_string()) | StrOutputParser()).invoke(QUESTION)
    assert "The office of Project Heron is Ljubljana." in turns
    assert retriever.batch([QUESTION, "What is the budget of Borealis?"])[1]


def test_its_trace_says_what_was_read(retriever: KBLaMRetriever, store: KnowledgeStore) -> None:
    class Handler(BaseCallbackHandler):
        def on_retriever_start(self, serialized, query, *, metadata, **kwargs):
            self.metadata = metadata

        def on_retriever_end(self, documents, **kwargs):
            self.found = documents

    handler = Handler()
    retriever.invoke(QUESTION, {"callbacks": [handler]})
    assert handler.metadata["kb_fingerprint"] == store.fingerprint
    assert handler.metadata["kb_facts"] == 7
    assert handler.metadata["ls_model_name"] == retriever.kblam.model_name
    assert handler.metadata["ls_retriever_name"] == "kblam"
    assert handler.found[0].metadata["value"] == "Ljubljana"


def test_copies_share_and_settings_are_checked(retriever: KBLaMRetriever) -> None:
    other = copy.deepcopy(retriever)
    assert other.kblam.base is retriever.kblam.base
    tuned = retriever.configurable_fields(k=ConfigurableField(id="k"))
    assert len(tuned.invoke(QUESTION, {"configurable": {"k": 1}})) == 1
    with pytest.raises(ConfigError, match="Pass kb="):
        KBLaMRetriever()
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        KBLaMRetriever(kb=FACTS, k=0)
    with pytest.raises(ValidationError, match="kk"):
        KBLaMRetriever(kb=FACTS, kk=3)
