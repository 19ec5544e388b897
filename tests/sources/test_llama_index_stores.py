"""LlamaIndex's graph stores and the indexes over them as facts."""

from __future__ import annotations

import numpy as np
import pytest
from llama_index.core import KnowledgeGraphIndex, MockEmbedding, PropertyGraphIndex, StorageContext
from llama_index.core.graph_stores import SimpleGraphStore, SimplePropertyGraphStore
from llama_index.core.graph_stores.types import ChunkNode, EntityNode, Relation
from llama_index.core.llms import MockLLM

from kblam.errors import UnsupportedSourceError
from kblam.knowledge import KnowledgeStore, SyncReport, VersionedSource
from kblam_integrations.sources import as_store


def facts(store: KnowledgeStore) -> set[tuple[str, str, str]]:
    return {(fact.entity, fact.property, fact.value) for fact in store}


def test_simple_graph_store_gives_every_triple() -> None:
    graph = SimpleGraphStore()
    for i in range(100):  # more than the store's own limit of 30
        graph.upsert_triplet(f"entity {i}", "next", f"entity {i + 1}")
    graph.upsert_triplet("entity 1", " ", "nothing")
    with as_store(graph) as store:
        assert facts(store) == {(f"entity {i}", "next", f"entity {i + 1}") for i in range(100)}


def test_a_changed_simple_graph_store_is_picked_up() -> None:
    graph = SimpleGraphStore()
    graph.upsert_triplet("Aurora", "launch code", "QX-7719")
    graph.upsert_triplet("Aurora", "lead", "Mirela Osei")
    with as_store(graph) as store:
        assert isinstance(store.source, VersionedSource)
        assert not store.refresh()
        graph.get("Aurora")[0][1] = "ZT-0042"
        assert store.refresh() == SyncReport(added=1, removed=1)
        graph.upsert_triplet("Borealis", "lead", "Tomas")
        assert store.refresh() == SyncReport(added=1)
        assert {fact.value for fact in store} == {"ZT-0042", "Mirela Osei", "Tomas"}


@pytest.fixture
def property_graph() -> SimplePropertyGraphStore:
    graph = SimplePropertyGraphStore()
    chunk = ChunkNode(
        text="Ann works at Acme.",
        id_="chunk-1",
        properties={"author": "desk", "file_name": "a.txt"},
    )
    inherited = {"author": "desk", "file_name": "a.txt", "triplet_source_id": "chunk-1"}
    graph.upsert_nodes(
        [
            chunk,
            EntityNode(
                name="Ann",
                label="PERSON",
                properties={**inherited, "birthYear": 1968, "languages": ["en", "fr"], "title": ""},
            ),
            EntityNode(name="Acme", properties={"address": {"city": "Ulm", "zip": None}}),
        ]
    )
    graph.upsert_relations(
        [
            Relation(
                label="WORKS_AT",
                source_id="Ann",
                target_id="Acme",
                properties={**inherited, "since": 1998},
            ),
            Relation(label="SOURCE", source_id="Ann", target_id="chunk-1"),
        ]
    )
    return graph


def test_property_graph_gives_relations_and_properties(
    property_graph: SimplePropertyGraphStore,
) -> None:
    with as_store(property_graph) as store:
        assert facts(store) == {
            ("Ann", "type", "PERSON"),
            ("Ann", "birthYear", "1968"),
            ("Ann", "languages", "en"),
            ("Ann", "languages", "fr"),
            ("Acme", "address city", "Ulm"),
            ("Ann", "WORKS_AT", "Acme"),
            ("Ann works at Acme", "since", "1998"),
        }
        (works,) = store.search(property="WORKS_AT")
        assert works.key_text == "the works at of Ann"
        assert works.metadata == {"source": "chunk-1"}


def test_a_changed_property_graph_is_picked_up(property_graph: SimplePropertyGraphStore) -> None:
    with as_store(property_graph) as store:
        assert not store.refresh()
        property_graph.graph.nodes["Ann"].properties["birthYear"] = 1969
        assert store.refresh() == SyncReport(added=1, removed=1)
        property_graph.upsert_relations(
            [Relation(label="KNOWS", source_id="Ann", target_id="Acme")]
        )
        assert store.refresh() == SyncReport(added=1)
        assert not store.refresh()


def test_a_change_in_the_middle_of_a_long_array_is_picked_up(
    property_graph: SimplePropertyGraphStore,
) -> None:
    codes = np.array([f"x{i}" for i in range(2000)])
    property_graph.graph.nodes["Ann"].properties["codes"] = codes
    with as_store(property_graph) as store:
        assert not store.refresh()
        codes[1000] = "changed"
        assert store.refresh() == SyncReport(added=1, removed=1)


def test_relations_of_one_key_are_told_apart() -> None:
    graph = SimplePropertyGraphStore()
    graph.upsert_nodes([EntityNode(name=name) for name in ("a", "a_R", "b", "R_b")])
    for source, target, since in (("a", "R_b", 1), ("a_R", "b", 2)):
        graph.upsert_relations(
            [Relation(label="R", source_id=source, target_id=target, properties={"since": since})]
        )
    with as_store(graph) as store:
        # The store itself keeps one of them only.
        assert [(fact.entity, fact.value) for fact in store.search(property="since")] == [
            ("a_R r b", "2")
        ]
        assert ("a", "R", "R_b") in facts(store)


def test_internal_keys_are_no_facts(property_graph: SimplePropertyGraphStore) -> None:
    with as_store(property_graph) as store:
        texts = " ".join(fact.statement for fact in store)
    assert "Ann_WORKS_AT_Acme" not in texts
    assert "chunk-1" not in texts
    assert "desk" not in texts
    assert "SOURCE" not in texts


def test_relations_left_dangling_keep_the_names(property_graph: SimplePropertyGraphStore) -> None:
    property_graph.delete(entity_names=["Acme"])
    with as_store(property_graph) as store:
        assert ("Acme", "address city", "Ulm") not in facts(store)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_knowledge_graph_index_is_unwrapped() -> None:
    graph = SimpleGraphStore()
    graph.upsert_triplet("Aurora", "lead", "Mirela Osei")
    index = KnowledgeGraphIndex(
        nodes=[],
        storage_context=StorageContext.from_defaults(graph_store=graph),
        llm=MockLLM(),
        embed_model=MockEmbedding(4),
    )
    with as_store(index) as store:
        assert facts(store) == {("Aurora", "lead", "Mirela Osei")}
        index.upsert_triplet(("Borealis", "lead", "Tomas"))
        assert store.refresh() == SyncReport(added=1)


def test_property_graph_index_is_unwrapped(property_graph: SimplePropertyGraphStore) -> None:
    index = PropertyGraphIndex.from_existing(
        property_graph_store=property_graph,
        llm=MockLLM(),
        embed_model=MockEmbedding(4),
        embed_kg_nodes=False,
    )
    with as_store(index) as store, as_store(property_graph) as direct:
        assert facts(store) == facts(direct)


def test_an_index_over_another_store_says_so() -> None:
    held = object.__new__(KnowledgeGraphIndex)  # the constructor takes supported stores only
    held._graph_store = object()
    with pytest.raises(UnsupportedSourceError, match=r"KnowledgeGraphIndex keeps .*object"):
        as_store(held)
