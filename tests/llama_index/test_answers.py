"""Right answers: what the shipped model says, beyond how it is wired."""

from __future__ import annotations

import pytest
from llama_index.core import KnowledgeGraphIndex, PropertyGraphIndex, StorageContext
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.graph_stores import SimpleGraphStore

from kblam_integrations.llama_index import KBLaMLLM, KBLaMQueryEngine

pytestmark = pytest.mark.weights

WHO = "Who is the director of Monell Chemical Senses Center?"


@pytest.fixture(scope="module")
def shipped() -> KBLaMLLM:
    """The default model, held so that its weights are loaded once."""
    return KBLaMLLM(max_new_tokens=32)


@pytest.fixture
def index(graph: SimpleGraphStore, shipped: KBLaMLLM) -> KnowledgeGraphIndex:
    with pytest.warns(DeprecationWarning, match="KnowledgeGraphIndex"):
        return KnowledgeGraphIndex(
            nodes=[],
            storage_context=StorageContext.from_defaults(graph_store=graph),
            llm=shipped,
            embed_model=MockEmbedding(embed_dim=4),
        )


def test_an_engine_made_from_nothing_but_an_index(index: KnowledgeGraphIndex) -> None:
    engine = KBLaMQueryEngine.from_index(index)
    response = engine.query(WHO)
    assert "Benjamin Smith" in response.response
    assert response.source_nodes[0].text == (
        "The director of Monell Chemical Senses Center is Benjamin Smith."
    )
    (citation,) = response.metadata["citations"]
    assert response.response[citation["start"] : citation["end"]] == "Benjamin Smith"


def test_over_a_property_graph(property_index: PropertyGraphIndex, shipped: KBLaMLLM) -> None:
    engine = KBLaMQueryEngine.from_index(property_index, shipped, streaming=True)
    response = engine.query("What is the launch code of Aurora?")
    assert "QX-7719" in "".join(response.response_gen)
    assert response.source_nodes[0].metadata["value"] == "QX-7719"


async def test_a_changed_fact_is_in_the_next_answer(
    index: KnowledgeGraphIndex, graph: SimpleGraphStore
) -> None:
    engine = KBLaMQueryEngine.from_index(index)
    assert "Benjamin Smith" in (await engine.aquery(WHO)).response
    name = "Monell Chemical Senses Center"
    graph._data.graph_dict[name] = [["director", "Ruth Adeyemi"]]
    response = await engine.aquery(WHO)
    assert "Ruth Adeyemi" in response.response
    assert response.source_nodes[0].metadata["value"] == "Ruth Adeyemi"


def test_a_refusal_names_no_source(index: KnowledgeGraphIndex) -> None:
    engine = KBLaMQueryEngine.from_index(index, refusal="That is not in the graph.")
    response = engine.query("Who is the mother of Giuseppe Verdi?")
    assert response.response == "That is not in the graph."
    assert response.source_nodes == []
    assert response.metadata["refused"] is True
    assert response.metadata["finish_reason"] == "refusal"
