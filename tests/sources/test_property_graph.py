"""Property graph stores of any class, which may cut what they return."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from llama_index.core import MockEmbedding, PropertyGraphIndex
from llama_index.core.graph_stores import SimplePropertyGraphStore
from llama_index.core.graph_stores.types import (
    ChunkNode,
    EntityNode,
    LabelledNode,
    PropertyGraphStore,
)
from llama_index.core.graph_stores.types import Relation as Edge
from llama_index.core.llms import MockLLM
from source_contract import SourceContract
from source_world import Relation, World, snake

from kblam.errors import IncompleteSourceError, SourceError
from kblam.knowledge import KnowledgeStore, SyncReport, TripleSource
from kblam_integrations.sources import PropertyGraphSource, as_store


class OtherStore(PropertyGraphStore):
    """A store of a class that no source knows, with a limit on what it returns.

    Attributes:
        node_limit: How many nodes it lists.
        triplet_limit: How many relations it returns.
        speaks_cypher: It can count its nodes.
    """

    def __init__(self) -> None:
        self.held = SimplePropertyGraphStore()
        self.node_limit = self.triplet_limit = 10**9
        self.supports_structured_queries = self.speaks_cypher = True

    def get(
        self, properties: dict[str, Any] | None = None, ids: list[str] | None = None
    ) -> list[LabelledNode]:
        return self.held.get(properties, ids)[: self.node_limit]

    def get_triplets(self, *args: Any, **kwargs: Any) -> list[Any]:
        return self.held.get_triplets(*args, **kwargs)[: self.triplet_limit]

    def get_rel_map(self, *args: Any, **kwargs: Any) -> list[Any]:
        return self.held.get_rel_map(*args, **kwargs)

    def upsert_nodes(self, nodes: Any) -> None:
        self.held.upsert_nodes(nodes)

    def upsert_relations(self, relations: Any) -> None:
        self.held.upsert_relations(relations)

    def delete(self, *args: Any, **kwargs: Any) -> None:
        self.held.delete(*args, **kwargs)

    def structured_query(self, query: str, param_map: dict[str, Any] | None = None) -> Any:
        if not self.speaks_cypher:
            raise SyntaxError(f"unexpected {query.split()[0]}")
        return [
            {"n": len(self.held.graph.triplets if "-[r]->" in query else self.held.graph.nodes)}
        ]

    def vector_query(self, *args: Any, **kwargs: Any) -> Any:
        return [], []


class TestOtherStore(SourceContract):
    edge_properties = True
    empty_values = ("", None)

    def make(self, world: World, folder: Path) -> OtherStore:
        store = OtherStore()
        store.upsert_nodes(
            [
                EntityNode(name=name, properties={snake(k): list(v) for k, v in values.items()})
                for name, values in world.entities.items()
            ]
        )
        for relation in world.relations:
            self.relate(store, relation)
        return store

    def add(self, kb: OtherStore, entity: str, key: str, value: Any) -> None:
        self.properties(kb, entity).setdefault(snake(key), []).append(value)

    def remove(self, kb: OtherStore, entity: str, key: str, value: Any) -> None:
        self.properties(kb, entity)[snake(key)].remove(value)

    def relate(self, kb: OtherStore, relation: Relation) -> None:
        kb.upsert_relations([self.edge(relation)])

    def unrelate(self, kb: OtherStore, relation: Relation) -> None:
        edge = self.edge(relation)
        kb.held.graph.triplets.remove((edge.source_id, edge.label, edge.target_id))
        del kb.held.graph.relations[f"{edge.source_id}_{edge.label}_{edge.target_id}"]

    def content(self, kb: OtherStore) -> Any:
        return kb.held.graph.model_dump_json(exclude={"triplets"}), set(kb.held.graph.triplets)

    def source(self, kb: OtherStore) -> TripleSource:
        found = super().source(kb)
        assert isinstance(found, PropertyGraphSource)
        return found

    def refresh(self, store: KnowledgeStore, kb: OtherStore) -> SyncReport:
        return store.sync(self.source(kb))

    def edge(self, relation: Relation) -> Edge:
        return Edge(
            label=snake(relation.label).upper(),
            source_id=EntityNode(name=relation.subject).id,
            target_id=EntityNode(name=relation.target).id,
            properties=dict(relation.properties),
        )

    def properties(self, kb: OtherStore, entity: str) -> dict[str, Any]:
        properties: dict[str, Any] = kb.held.graph.nodes[EntityNode(name=entity).id].properties
        return properties


def star(rays: int) -> OtherStore:
    """Return a store with one node that is related to so many others."""
    store = OtherStore()
    store.upsert_nodes([EntityNode(name=f"ray {i}") for i in range(rays)])
    store.upsert_relations(
        [Edge(label="HAS", source_id="sun", target_id=f"ray {i}") for i in range(rays)]
    )
    return store


def test_a_store_is_read_whatever_its_size() -> None:
    with as_store(star(101)) as store:
        assert len(store) == 101


@pytest.mark.parametrize("speaks_cypher", [True, False])
def test_nodes_that_are_cut_are_noticed(speaks_cypher: bool) -> None:
    graph = star(150)
    graph.node_limit, graph.speaks_cypher = 100, speaks_cypher
    expected = "151 nodes" if speaks_cypher else "more than 100 nodes"
    with pytest.raises(IncompleteSourceError, match=f"Expected {expected}.*got 100"):
        as_store(graph)


def test_nodes_that_only_relations_know_are_noticed() -> None:
    graph = star(20)
    graph.node_limit, graph.supports_structured_queries = 10, False
    with pytest.raises(IncompleteSourceError, match=r"'sun', which is related.*got 10"):
        as_store(graph)


@pytest.mark.parametrize(("limit", "expected"), [(100, "more than 100"), (70, "150")])
def test_relations_that_are_cut_are_noticed(limit: int, expected: str) -> None:
    graph = star(150)
    graph.triplet_limit = limit
    match = f"Expected {expected} relations of 'sun'.* got {limit}"
    with pytest.raises(IncompleteSourceError, match=match):
        as_store(graph)


def test_relations_that_no_node_knows_are_noticed() -> None:
    graph = star(20)
    graph.triplet_limit = 0
    with pytest.raises(IncompleteSourceError, match=r"Expected 20 relations .*got 0"):
        as_store(graph)


def test_a_store_that_lists_nothing_is_not_taken_for_an_empty_one() -> None:
    graph = star(3)
    graph.node_limit, graph.speaks_cypher = 0, False
    with pytest.raises(SourceError, match="If it is empty, fill it first"):
        as_store(graph)


def test_what_the_store_raises_is_told_without_secrets() -> None:
    graph = OtherStore()

    def failing(*args: Any) -> list[Any]:
        raise ConnectionError("no answer from redis://ann:hunter2@graph.example:6379\nmore")

    graph.get = failing  # type: ignore[method-assign]
    with pytest.raises(
        SourceError,
        match=r"ConnectionError: no answer from redis://\*\*\*@graph.example:6379\. See",
    ) as info:
        as_store(graph)
    assert info.value.__suppress_context__


def test_chunks_are_no_facts_and_an_index_is_unwrapped() -> None:
    graph = OtherStore()
    inherited = {"author": "desk", "triplet_source_id": "chunk-1"}
    graph.upsert_nodes(
        [
            ChunkNode(text="Ann works at Acme.", id_="chunk-1", properties={"author": "desk"}),
            EntityNode(name="Ann", label="PERSON", properties={**inherited, "name": "Ann"}),
            EntityNode(name="Acme"),
        ]
    )
    graph.speaks_cypher = False
    graph.upsert_relations(
        [
            Edge(label="WORKS_AT", source_id="Ann", target_id="Acme", properties=inherited),
            Edge(label="SOURCE", source_id="Ann", target_id="chunk-1"),
        ]
    )
    index = PropertyGraphIndex.from_existing(
        property_graph_store=graph,
        llm=MockLLM(),
        embed_model=MockEmbedding(4),
        embed_kg_nodes=False,
    )
    with as_store(index) as store:
        assert {(fact.entity, fact.property, fact.value) for fact in store} == {
            ("Ann", "type", "PERSON"),
            ("Ann", "WORKS_AT", "Acme"),
        }
        assert all(fact.metadata == {"source": "chunk-1"} for fact in store)
