"""LangChain's graph documents as facts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from source_contract import SourceContract
from source_world import Relation, World, snake

from kblam.errors import FactError
from kblam.knowledge import KnowledgeStore, SyncReport
from kblam_integrations.sources import GraphDocumentSource, as_store

graph_document = pytest.importorskip("langchain_neo4j.graphs.graph_document")


@dataclass
class Node:
    """As in packages that took no part of LangChain's."""

    id: Any
    type: str = "Node"
    properties: dict[str, Any] = field(default_factory=dict)


@dataclass
class Edge:
    source: Node
    target: Node
    type: str
    properties: dict[str, Any] = field(default_factory=dict)


@dataclass
class Graph:
    nodes: list[Node]
    relationships: list[Edge]
    source: Document | None = None


def facts(store: KnowledgeStore) -> set[tuple[str, str, str]]:
    return {(fact.entity, fact.property, fact.value) for fact in store}


class TestGraphDocument(SourceContract):
    edge_properties = True
    exact_count = False  # properties of relationships are not counted
    empty_values = ("", None, [])
    node, edge, graph = (
        graph_document.Node,
        graph_document.Relationship,
        graph_document.GraphDocument,
    )

    def make(self, world: World, folder: Path) -> Any:
        nodes = [
            self.node(id=name, properties={snake(k): list(v) for k, v in properties.items()})
            for name, properties in world.entities.items()
        ]
        kb = self.graph(nodes=nodes, relationships=[], source=Document(page_content="."))
        for relation in world.relations:
            self.relate(kb, relation)
        return kb

    def properties(self, kb: Any, entity: str) -> dict[str, Any]:
        return next(node.properties for node in kb.nodes if node.id == entity)

    def add(self, kb: Any, entity: str, key: str, value: Any) -> None:
        self.properties(kb, entity).setdefault(snake(key), []).append(value)

    def remove(self, kb: Any, entity: str, key: str, value: Any) -> None:
        self.properties(kb, entity)[snake(key)].remove(value)

    def relate(self, kb: Any, relation: Relation) -> None:
        kb.relationships.append(
            self.edge(
                source=self.node(id=relation.subject),
                target=self.node(id=relation.target),
                type=snake(relation.label).upper(),
                properties=dict(relation.properties),
            )
        )

    def unrelate(self, kb: Any, relation: Relation) -> None:
        kb.relationships.pop()

    def content(self, kb: Any) -> Any:
        return repr(kb)


class TestForeignGraphDocuments(TestGraphDocument):
    node, edge, graph = Node, Edge, Graph

    def make(self, world: World, folder: Path) -> Any:
        return [super().make(world, folder)]

    def properties(self, kb: Sequence[Any], entity: str) -> dict[str, Any]:
        return super().properties(kb[0], entity)

    def relate(self, kb: Any, relation: Relation) -> None:
        super().relate(kb[0] if isinstance(kb, list) else kb, relation)

    def unrelate(self, kb: Sequence[Any], relation: Relation) -> None:
        super().unrelate(kb[0], relation)


def test_facts_say_which_documents_they_are_from() -> None:
    ann, acme = Node("Ann", "Person", {"born": 1968}), Node("Acme", "Company")
    first = Document(page_content="a", id="doc-1", metadata={"source": "a.txt", "page": 3})
    second = Document(page_content="b", metadata={"source": "b.txt", "id": 2})
    documents = [
        Graph([ann, acme], [Edge(ann, acme, "WORKS_AT", {"since": 1998})], first),
        Graph([acme], [Edge(Node("Ann"), acme, "WORKS_AT")], second),
        Graph([Node(7, properties={"name": "Ulm", "river": "Danube"})], []),
    ]
    with as_store(documents) as store:
        assert {
            (fact.entity, fact.property, fact.value): dict(fact.metadata) for fact in store
        } == {
            ("Ann", "type", "Person"): {"document": "doc-1", "source": "a.txt"},
            ("Ann", "born", "1968"): {"document": "doc-1", "source": "a.txt"},
            ("Acme", "type", "Company"): {
                "document": ["doc-1", "2"],
                "source": ["a.txt", "b.txt"],
            },
            ("Ann", "WORKS_AT", "Acme"): {
                "document": ["doc-1", "2"],
                "source": ["a.txt", "b.txt"],
            },
            ("Ann works at Acme", "since", "1998"): {"document": "doc-1", "source": "a.txt"},
            ("Ulm", "river", "Danube"): {},
        }
        assert len(store.search(view=store.view(source="b.txt"))) == 2


def test_a_document_added_later_is_picked_up() -> None:
    documents = [Graph([Node("Ann", "Person")], [])]
    with as_store(documents) as store:
        assert not store.refresh()
        documents.append(Graph([Node("Acme", "Company")], []))
        assert store.refresh() == SyncReport(added=1)
        documents.append(("Ann", "lives in", "Ulm"))  # type: ignore[arg-type]
        with pytest.raises(FactError, match=r"Item 2 must be a graph document.*tuple"):
            store.refresh()
        assert len(store) == 2


def test_a_change_in_the_middle_of_a_long_array_is_picked_up() -> None:
    codes = np.array([f"x{i}" for i in range(2000)])
    ann, acme = Node("Ann", properties={"codes": codes}), Node("Acme")
    document = Graph([ann, acme], [Edge(ann, acme, "RUNS", {"codes": codes[:1500]})])
    with as_store(document) as store:
        assert not store.refresh()
        codes[1000] = "changed"
        assert store.refresh() == SyncReport(added=2, removed=2)


def test_a_tuple_of_documents_and_a_single_one() -> None:
    document = Graph([Node("Ann", "Person")], [])
    for kb in (document, (document,), GraphDocumentSource(document)):
        with as_store(kb) as store:
            assert facts(store) == {("Ann", "type", "Person")}


def test_what_is_no_graph_document_is_named() -> None:
    with pytest.raises(FactError, match="Item 1 must be a graph document"):
        as_store([Graph([], []), ("Ann", "lives in", "Ulm")])
