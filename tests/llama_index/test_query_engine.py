"""``KBLaMQueryEngine`` over LlamaIndex's graph indexes and other stores."""

from __future__ import annotations

from pathlib import Path

import pytest
from llama_index.core import KnowledgeGraphIndex, PropertyGraphIndex, Settings, VectorStoreIndex
from llama_index.core.base.response.schema import AsyncStreamingResponse, StreamingResponse
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.graph_stores import EntityNode, SimpleGraphStore, SimplePropertyGraphStore
from llama_index.core.llms import MockLLM
from llama_index.core.response import Response
from llama_index.core.schema import MetadataMode, QueryBundle
from llama_index.core.tools import QueryEngineTool

from kblam.errors import ConfigError, UnsupportedSourceError
from kblam_integrations.llama_index import KBLaMLLM, KBLaMQueryEngine

pytestmark = pytest.mark.weights  # of the sentence encoder

QUESTION = "What is the launch code of Aurora?"
CODE = "The launch code of Aurora is QX-7719."


def test_a_knowledge_graph_index(kg_index: KnowledgeGraphIndex, llm: KBLaMLLM) -> None:
    response = KBLaMQueryEngine.from_index(kg_index).query(QUESTION)
    assert isinstance(response, Response)
    assert response.response == llm.complete(QUESTION).text
    (node,) = response.source_nodes
    assert node.text == CODE
    assert node.get_content(MetadataMode.LLM) == CODE
    assert 0 < node.score <= 1
    assert node.metadata["entity"] == "Aurora"
    assert node.metadata["property"] == "launch code"
    assert node.metadata["value"] == "QX-7719"
    assert node.metadata["fact_id"] == node.node_id
    assert response.metadata["refused"] is False
    assert response.metadata["kb_fingerprint"]
    assert response.metadata["seconds"] > 0
    assert response.metadata["citations"][0]["id"] == node.node_id
    assert CODE in response.get_formatted_sources()


def test_a_property_graph_index(property_index: PropertyGraphIndex) -> None:
    response = KBLaMQueryEngine.from_index(property_index).query(QueryBundle(QUESTION))
    assert [node.text for node in response.source_nodes] == [CODE]


def test_a_changed_index_is_seen_by_the_next_query(
    kg_index: KnowledgeGraphIndex,
    graph: SimpleGraphStore,
    property_index: PropertyGraphIndex,
    property_graph: SimplePropertyGraphStore,
) -> None:
    def value(engine: KBLaMQueryEngine) -> str:
        return str(engine.query(QUESTION).source_nodes[0].metadata["value"])

    engine = KBLaMQueryEngine.from_index(kg_index)
    assert value(engine) == "QX-7719"
    graph._data.graph_dict["Aurora"] = [["launch code", "ZZ-1"]]
    assert value(engine) == "ZZ-1"
    engine = KBLaMQueryEngine.from_index(property_index)
    assert value(engine) == "QX-7719"
    # The graph's id of an entity is its name: the node stays, its name changes.
    property_graph.graph.nodes["QX-7719"] = EntityNode(name="ZZ-1")
    assert value(engine) == "ZZ-1"


async def test_aquery(kg_index: KnowledgeGraphIndex) -> None:
    engine = KBLaMQueryEngine.from_index(kg_index)
    expected, response = engine.query(QUESTION), await engine.aquery(QUESTION)
    assert response.response == expected.response
    assert [n.node_id for n in response.source_nodes] == [n.node_id for n in expected.source_nodes]


async def test_streaming(kg_index: KnowledgeGraphIndex) -> None:
    text = KBLaMQueryEngine.from_index(kg_index).query(QUESTION).response
    engine = KBLaMQueryEngine.from_index(kg_index, streaming=True)
    response = engine.query(QUESTION)
    assert isinstance(response, StreamingResponse)
    assert response.source_nodes == []
    pieces = list(response.response_gen)
    assert len(pieces) > 1
    assert "".join(pieces) == text
    assert [node.text for node in response.source_nodes] == [CODE]
    assert response.metadata["refused"] is False
    assert engine.query(QUESTION).get_response().source_nodes[0].text == CODE

    later = await engine.aquery(QUESTION)
    assert isinstance(later, AsyncStreamingResponse)
    assert "".join([piece async for piece in later.async_response_gen()]) == text
    assert [node.text for node in later.source_nodes] == [CODE]


async def test_as_a_tool(kg_index: KnowledgeGraphIndex) -> None:
    tool = QueryEngineTool.from_defaults(KBLaMQueryEngine.from_index(kg_index), name="codes")
    for output in (tool.call(QUESTION), await tool.acall(input=QUESTION)):
        assert output.content
        assert output.raw_output.source_nodes[0].text == CODE


@pytest.mark.parametrize("streaming", [False, True])
async def test_errors_of_a_query_are_passed_on(
    kg_index: KnowledgeGraphIndex, streaming: bool
) -> None:
    engine = KBLaMQueryEngine.from_index(kg_index, streaming=streaming)
    with pytest.raises(ValueError, match="1024"):
        str(engine.query("very " * 1200))

    async def ask() -> None:
        response = await engine.aquery("very " * 1200)
        await response.get_response()

    with pytest.raises(ValueError, match="1024"):
        await ask()


def test_only_indexes_that_hold_a_graph(llm: KBLaMLLM, graph: SimpleGraphStore) -> None:
    index = VectorStoreIndex(nodes=[], embed_model=MockEmbedding(embed_dim=4))
    with pytest.raises(UnsupportedSourceError, match="VectorStoreIndex"):
        KBLaMQueryEngine.from_index(index, llm)
    with pytest.raises(UnsupportedSourceError, match="from_store"):
        KBLaMQueryEngine.from_index(graph, llm)
    with pytest.raises(UnsupportedSourceError, match="VectorStoreIndex"):
        KBLaMQueryEngine.from_store(index, llm)
    with pytest.raises(ConfigError, match="MockLLM"):
        KBLaMQueryEngine.from_store(graph, MockLLM())


def test_whose_model_answers(
    kg_index: KnowledgeGraphIndex,
    property_graph: SimplePropertyGraphStore,
    graph: SimpleGraphStore,
    llm: KBLaMLLM,
    weights: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The one given, then the index's, then that of Settings, each with its settings.
    given = KBLaMQueryEngine.from_index(kg_index, llm.with_kb(None, seed=1), max_new_tokens=3)
    assert (given.llm.seed, given.llm.max_new_tokens) == (1, 3)
    assert KBLaMQueryEngine.from_index(kg_index).llm.max_new_tokens == 8
    monkeypatch.setattr(Settings, "_llm", llm.with_kb(None, seed=2))
    assert KBLaMQueryEngine.from_store(graph).llm.seed == 2
    with pytest.warns(DeprecationWarning, match="KnowledgeGraphIndex"):
        other = KnowledgeGraphIndex(nodes=[], llm=MockLLM(), embed_model=MockEmbedding(embed_dim=4))
    assert KBLaMQueryEngine.from_index(other).llm.seed == 2
    monkeypatch.setattr(Settings, "_llm", MockLLM())
    engine = KBLaMQueryEngine.from_store(graph, **weights, max_new_tokens=4)
    assert engine.query(QUESTION).source_nodes[0].text == CODE
    assert llm.kblam.store is not None  # the models given keep their own facts
    assert len(llm.kblam.store) == 5


def test_other_stores(llm: KBLaMLLM, tmp_path: Path) -> None:
    (tmp_path / "facts.jsonl").write_text(
        '{"entity": "Aurora", "property": "launch code", "value": "QX-7719", '
        '"metadata": {"source": "manual-7", "team": "a"}}\n'
    )
    response = KBLaMQueryEngine.from_store(tmp_path / "facts.jsonl", llm).query(QUESTION)
    (node,) = response.source_nodes
    assert node.metadata["team"] == "a"
    assert node.node.ref_doc_id == "manual-7"
    with pytest.raises(UnsupportedSourceError):
        KBLaMQueryEngine.from_store(object(), llm)


def test_a_question_that_the_facts_do_not_answer_names_no_source(llm: KBLaMLLM) -> None:
    response = KBLaMQueryEngine.from_store([], llm).query(QUESTION)
    assert response.source_nodes == []


def test_the_system_prompt_goes_along(llm: KBLaMLLM, graph: SimpleGraphStore) -> None:
    engine = KBLaMQueryEngine.from_store(graph, llm, system_prompt="Be brief.")
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": QUESTION},
    ]
    used = engine.query(QUESTION).metadata["usage"]["prompt_tokens"]
    assert used == llm.kblam.count_tokens(messages)
