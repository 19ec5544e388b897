"""The contract of sources, for what Python, rdflib and LlamaIndex keep in memory or files."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from llama_index.core.graph_stores import SimpleGraphStore, SimplePropertyGraphStore
from llama_index.core.graph_stores.types import EntityNode
from llama_index.core.graph_stores.types import Relation as Edge
from rdflib import RDFS, Dataset, Graph, Literal, Namespace, URIRef
from source_contract import SourceContract, VanishingSourceContract
from source_world import Relation, World, camel, snake, words

from kblam.knowledge import KnowledgeStore, ListSource, SyncReport, TripleSource
from kblam_integrations.sources import as_store

EX = Namespace("http://example.org/")


class TestList(SourceContract):
    """A list says what it says when it is read; it is synchronised by hand."""

    def make(self, world: World, folder: Path) -> list[tuple[str, str, str]]:
        return [(name, snake(key), words(value)) for name, key, value in world.triples()]

    def add(self, kb: list[Any], entity: str, key: str, value: Any) -> None:
        kb.append((entity, snake(key), value))

    def remove(self, kb: list[Any], entity: str, key: str, value: Any) -> None:
        kb.remove((entity, snake(key), value))

    def content(self, kb: list[Any]) -> Any:
        return list(kb)

    def source(self, kb: list[Any]) -> TripleSource:
        return ListSource(kb)

    def refresh(self, store: KnowledgeStore, kb: list[Any]) -> SyncReport:
        return store.sync(ListSource(kb))


class FileContract(VanishingSourceContract):
    """Files of facts: read, changed, written."""

    name: str

    def write(self, path: Path, triples: Iterable[tuple[str, str, Any]]) -> None:
        raise NotImplementedError

    def read(self, path: Path) -> list[tuple[str, str, str]]:
        with as_store(path) as store:
            return [(fact.entity, fact.property, fact.value) for fact in store]

    def make(self, world: World, folder: Path) -> Path:
        path = folder / self.name
        self.write(path, [(name, snake(key), value) for name, key, value in world.triples()])
        return path

    def add(self, kb: Path, entity: str, key: str, value: Any) -> None:
        self.write(kb, [*self.read(kb), (entity, snake(key), value)])

    def remove(self, kb: Path, entity: str, key: str, value: Any) -> None:
        self.write(kb, [fact for fact in self.read(kb) if fact != (entity, snake(key), value)])

    def content(self, kb: Path) -> Any:
        return kb.read_bytes()

    def source(self, kb: Path) -> TripleSource:
        with as_store(kb) as store:
            assert store.source is not None
            return store.source

    def vanish(self, kb: Path) -> None:
        kb.unlink()

    def test_a_change_of_equal_size_and_time_is_seen(self, tmp_path: Path) -> None:
        path = tmp_path / self.name
        self.write(path, [("Ann", "code", "QX-7719")])
        before = path.stat()
        with as_store(path) as store:
            self.write(path, [("Ann", "code", "ZT-0042")])
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
            assert path.stat().st_mtime_ns == before.st_mtime_ns
            assert store.refresh() == SyncReport(added=1, removed=1)


class TestJsonl(FileContract):
    name = "facts.jsonl"

    def write(self, path: Path, triples: Iterable[tuple[str, str, Any]]) -> None:
        parts = ("entity", "property", "value")
        with path.open("w", encoding="utf-8") as file:
            for triple in triples:
                line = dict(zip(parts, triple, strict=True))
                file.write(json.dumps(line, default=words, ensure_ascii=False) + "\n")


class TestCsv(FileContract):
    name = "facts.csv"
    delimiter = ","

    def write(self, path: Path, triples: Iterable[tuple[str, str, Any]]) -> None:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, delimiter=self.delimiter)
            writer.writerow(["entity", "property", "value"])
            writer.writerows((name, key, words(value)) for name, key, value in triples)


class TestTsv(TestCsv):
    name = "facts.tsv"
    delimiter = "\t"


class TestRdfGraph(SourceContract):
    """Entities have labels, properties are IRIs in camelCase."""

    exact_count = False  # it counts the labels too
    empty_values = ("", " ")

    def graph(self) -> Graph:
        return Graph()

    def make(self, world: World, folder: Path) -> Graph:
        graph = self.graph()
        for i, (name, properties) in enumerate(world.entities.items()):
            graph.add((EX[f"e{i}"], RDFS.label, Literal(name)))
            for key, values in properties.items():
                for value in values:
                    graph.add((EX[f"e{i}"], EX[camel(key)], Literal(value)))
        for relation in world.relations:
            self.relate(graph, relation)
        return graph

    def add(self, kb: Graph, entity: str, key: str, value: Any) -> None:
        kb.add((self.iri(kb, entity), EX[camel(key)], Literal(value)))

    def remove(self, kb: Graph, entity: str, key: str, value: Any) -> None:
        kb.remove((self.iri(kb, entity), EX[camel(key)], Literal(value)))

    def relate(self, kb: Graph, relation: Relation) -> None:
        kb.add(self.edge(kb, relation))

    def unrelate(self, kb: Graph, relation: Relation) -> None:
        kb.remove(self.edge(kb, relation))

    def content(self, kb: Graph) -> Any:
        return set(kb)

    def edge(self, kb: Graph, relation: Relation) -> tuple[URIRef, URIRef, URIRef]:
        ends = (self.iri(kb, relation.subject), self.iri(kb, relation.target))
        return (ends[0], EX[camel(relation.label)], ends[1])

    def iri(self, kb: Graph, name: str) -> URIRef:
        found = kb.value(predicate=RDFS.label, object=Literal(name))
        assert isinstance(found, URIRef)
        return found


class TestRdfDataset(TestRdfGraph):
    def graph(self) -> Graph:
        return Dataset()

    def content(self, kb: Graph) -> Any:
        assert isinstance(kb, Dataset)
        return set(kb.quads())


class TestSimpleGraphStore(SourceContract):
    empty_values = ("", " ")

    def make(self, world: World, folder: Path) -> SimpleGraphStore:
        store = SimpleGraphStore()
        for triple in world.triples():
            self.add(store, *triple)
        return store

    def add(self, kb: SimpleGraphStore, entity: str, key: str, value: Any) -> None:
        kb.upsert_triplet(entity, snake(key), words(value))

    def remove(self, kb: SimpleGraphStore, entity: str, key: str, value: Any) -> None:
        # Its own delete() removes nothing.
        kb.get(entity).remove([snake(key), words(value)])

    def content(self, kb: SimpleGraphStore) -> Any:
        return json.dumps(kb.to_dict())


class TestSimplePropertyGraphStore(SourceContract):
    edge_properties = True
    exact_count = False  # it counts a list of values once, and not the properties of relations
    empty_values = ("", None)

    def make(self, world: World, folder: Path) -> SimplePropertyGraphStore:
        store = SimplePropertyGraphStore()
        store.upsert_nodes(
            [
                EntityNode(name=name, properties={snake(k): list(v) for k, v in values.items()})
                for name, values in world.entities.items()
            ]
        )
        for relation in world.relations:
            store.upsert_relations([self.edge(relation)])
        return store

    def add(self, kb: SimplePropertyGraphStore, entity: str, key: str, value: Any) -> None:
        self.properties(kb, entity).setdefault(snake(key), []).append(value)

    def remove(self, kb: SimplePropertyGraphStore, entity: str, key: str, value: Any) -> None:
        self.properties(kb, entity)[snake(key)].remove(value)

    def relate(self, kb: SimplePropertyGraphStore, relation: Relation) -> None:
        kb.upsert_relations([self.edge(relation)])

    def unrelate(self, kb: SimplePropertyGraphStore, relation: Relation) -> None:
        edge = self.edge(relation)
        kb.graph.triplets.remove((edge.source_id, edge.label, edge.target_id))
        del kb.graph.relations[f"{edge.source_id}_{edge.label}_{edge.target_id}"]

    def content(self, kb: SimplePropertyGraphStore) -> Any:
        return kb.graph.model_dump_json(exclude={"triplets"}), set(kb.graph.triplets)

    def edge(self, relation: Relation) -> Edge:
        return Edge(
            label=snake(relation.label).upper(),
            source_id=EntityNode(name=relation.subject).id,
            target_id=EntityNode(name=relation.target).id,
            properties=dict(relation.properties),
        )

    def properties(self, kb: SimplePropertyGraphStore, entity: str) -> dict[str, Any]:
        properties: dict[str, Any] = kb.graph.nodes[EntityNode(name=entity).id].properties
        return properties
