"""``KBLaMRetriever``: the facts a question attends to, where LlamaIndex takes a retriever."""

from __future__ import annotations

import asyncio
import time

import pytest
from llama_index.core import KnowledgeGraphIndex, PropertyGraphIndex, VectorStoreIndex
from llama_index.core.callbacks import CallbackManager, CBEventType, LlamaDebugHandler
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.graph_stores import SimpleGraphStore, SimplePropertyGraphStore
from llama_index.core.llms import MockLLM
from llama_index.core.postprocessor import SimilarityPostprocessor
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.retrievers import BaseRetriever, QueryFusionRetriever
from llama_index.core.schema import MetadataMode, QueryBundle
from llama_index.core.tools import RetrieverTool
from llama_support import Recorder, add_to, before_each_pass, slow, ticks_during

from kblam import KnowledgeStore
from kblam.errors import ConfigError, UnsupportedSourceError
from kblam_integrations.llama_index import KBLaMLLM, KBLaMRetriever

pytestmark = pytest.mark.weights  # of the sentence encoder

QUESTION = "What is the launch code of Aurora?"
CODE = "The launch code of Aurora is QX-7719."


@pytest.fixture
def retriever(llm: KBLaMLLM) -> KBLaMRetriever:
    return KBLaMRetriever(llm, similarity_top_k=2)


def test_the_facts_that_a_question_selects(retriever: KBLaMRetriever, llm: KBLaMLLM) -> None:
    assert isinstance(retriever, BaseRetriever)
    nodes = retriever.retrieve(QUESTION)
    selected = llm.kblam.select(QUESTION, 2)
    assert [node.node_id for node in nodes] == [scored.fact.id for scored in selected]
    assert [node.score for node in nodes] == [scored.score for scored in selected]
    best = nodes[0]
    assert best.text == best.node.get_content(MetadataMode.LLM) == CODE
    fact = {"entity": "Aurora", "property": "launch code", "value": "QX-7719"}
    assert best.metadata == {**fact, "fact_id": best.node_id}
    assert retriever.retrieve(QueryBundle(QUESTION)) == nodes
    assert len(KBLaMRetriever(llm, similarity_top_k=1).retrieve(QUESTION)) == 1
    with pytest.raises(ConfigError, match="similarity_top_k"):
        KBLaMRetriever(llm, similarity_top_k=0)


def test_a_facts_own_metadata(llm: KBLaMLLM) -> None:
    fact = {"entity": "Aurora", "property": "launch code", "value": "QX-7719"}
    kb = [{**fact, "id": "f1", "metadata": {"source": "manual-7", "entity": "hidden", "page": 3}}]
    (node,) = KBLaMRetriever.from_store(kb, llm).retrieve(QUESTION)
    own = {"source": "manual-7", "page": 3}
    assert node.metadata == {**own, **fact, "fact_id": "f1"}
    assert node.node.ref_doc_id == "manual-7"


def test_over_indexes_that_change(
    kg_index: KnowledgeGraphIndex,
    graph: SimpleGraphStore,
    property_index: PropertyGraphIndex,
    property_graph: SimplePropertyGraphStore,
) -> None:
    def lead(retriever: KBLaMRetriever) -> str:
        nodes = retriever.retrieve("Who is the project lead of Aurora?")
        return str(nodes[0].metadata["value"])

    retrievers = [KBLaMRetriever.from_index(index) for index in (kg_index, property_index)]
    assert "Mirela Osei" not in map(lead, retrievers)
    graph.upsert_triplet("Aurora", "project lead", "Mirela Osei")
    add_to(property_graph, [("Aurora", "project lead", "Mirela Osei")])
    assert list(map(lead, retrievers)) == ["Mirela Osei", "Mirela Osei"]
    index = VectorStoreIndex(nodes=[], embed_model=MockEmbedding(embed_dim=4))
    with pytest.raises(UnsupportedSourceError, match="VectorStoreIndex"):
        KBLaMRetriever.from_index(index)


def test_views(weights: dict[str, str]) -> None:
    facts = [
        {"entity": "Aurora", "property": "budget", "value": f"{n} euros", "metadata": {"team": t}}
        for n, t in ((1, "north"), (2, "south"))
    ]
    with KnowledgeStore.from_source(facts) as store:
        llm = KBLaMLLM(store, **weights)
        everything = KBLaMRetriever(llm)

        def found(retriever: KBLaMRetriever) -> set[str]:
            return {n.metadata["value"] for n in retriever.retrieve("What is Aurora's budget?")}

        north, south = store.view(team="north"), store.view(team="south")
        assert found(everything) == {"1 euros", "2 euros"}
        assert found(everything.with_view(north)) == {"1 euros"}
        assert found(KBLaMRetriever(llm.with_view(south))) == {"2 euros"}
        assert found(everything.with_view(north).with_view(south)) == set()
        assert found(everything) == {"1 euros", "2 euros"}  # as it was
        with pytest.raises(ConfigError, match=r"store\.view"):
            everything.with_view({"team": "north"})  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match=r"store\.view"):
            llm.select("What is Aurora's budget?", view={"team": "north"})  # type: ignore[arg-type]


async def test_beside_an_event_loop(retriever: KBLaMRetriever) -> None:
    expected = retriever.retrieve(QUESTION)
    with before_each_pass(retriever.llm, lambda _: time.sleep(0.2)):
        assert await ticks_during(lambda: retriever.aretrieve(QUESTION)) > 10
    assert await retriever.aretrieve(QUESTION) == expected


async def test_who_leaves_before_its_turn_is_not_selected_for(retriever: KBLaMRetriever) -> None:
    with before_each_pass(retriever.llm, slow) as passes:
        with retriever.llm.kblam._engine.lock:
            first, second = (asyncio.create_task(retriever.aretrieve(QUESTION)) for _ in range(2))
            await asyncio.sleep(0.1)
            second.cancel()
            with pytest.raises(asyncio.CancelledError):
                await second
        await first
        await retriever.aretrieve(QUESTION)  # the second would have been before it
        assert len(passes) == 2


def test_errors_are_passed_on(retriever: KBLaMRetriever, weights: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="1024"):
        retriever.retrieve("very " * 1200)
    with pytest.raises(ConfigError, match="attach"):
        KBLaMRetriever(KBLaMLLM(**weights)).retrieve(QUESTION)


async def test_events(llm: KBLaMLLM, events: Recorder) -> None:
    debug = LlamaDebugHandler(print_trace_on_end=False)
    retriever = KBLaMRetriever(llm, callback_manager=CallbackManager([debug]))
    nodes = retriever.retrieve(QUESTION)
    await retriever.aretrieve(QUESTION)
    names = [type(event).__name__ for event in events.seen]
    assert names == ["RetrievalStartEvent", "RetrievalEndEvent"] * 2
    assert events.seen[1].nodes == nodes
    assert len(debug.get_event_pairs(CBEventType.RETRIEVE)) == 2


async def test_in_llama_indexs_own_parts(retriever: KBLaMRetriever) -> None:
    engine = RetrieverQueryEngine.from_args(
        retriever,
        llm=MockLLM(),  # repeats its prompt
        node_postprocessors=[SimilarityPostprocessor(similarity_cutoff=0.001)],
    )
    for response in (engine.query(QUESTION), await engine.aquery(QUESTION)):
        assert response.source_nodes[0].text == CODE
        assert CODE in response.response
    fused = QueryFusionRetriever(
        [retriever], llm=MockLLM(), num_queries=1, use_async=False, similarity_top_k=1
    )
    assert [node.text for node in fused.retrieve(QUESTION)] == [CODE]
    tool = RetrieverTool.from_defaults(retriever, name="facts")
    assert CODE in tool.call(QUESTION).content
    assert CODE in (await tool.acall(QUESTION)).content
