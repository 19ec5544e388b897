"""pyoxigraph's stores and datasets as facts."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from pyoxigraph import Dataset, Literal, NamedNode, Quad, RdfFormat, Store, parse
from rdf_worlds import EX, edge_of, normalised, property_quad, quad, quads
from rdflib import Dataset as RdflibDataset
from source_contract import SourceContract
from source_world import Relation, World

from kblam.errors import SourceError
from kblam.knowledge import SyncReport, VersionedSource
from kblam_integrations.sources import OxigraphSource, RdfSource, as_store

PREFIXES = """
@prefix ex: <http://example.org/> .
@prefix rdf: <http://www.w3.org/1999/02/22-rdf-syntax-ns#> .
@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
@prefix qudt: <http://qudt.org/schema/qudt/> .
@prefix unit: <http://qudt.org/vocab/unit/> .
@prefix xsd: <http://www.w3.org/2001/XMLSchema#> .
"""


class TestStore(SourceContract):
    edge_properties = True
    exact_count = False  # it counts the labels too
    empty_values = ("", " ")

    def world(self) -> World:
        return normalised(super().world())

    def make(self, world: World, folder: Path) -> Store:
        store = Store()
        store.bulk_extend(quads(world))
        return store

    def add(self, kb: Store, entity: str, key: str, value: Any) -> None:
        kb.add(property_quad(entity, key, value))

    def remove(self, kb: Store, entity: str, key: str, value: Any) -> None:
        kb.remove(property_quad(entity, key, value))

    def relate(self, kb: Store, relation: Relation) -> None:
        kb.add(quad(*edge_of(relation)))

    def unrelate(self, kb: Store, relation: Relation) -> None:
        kb.remove(quad(*edge_of(relation)))

    def content(self, kb: Store) -> Any:
        return set(kb)


class TestStoreOnDisk(TestStore):
    def make(self, world: World, folder: Path) -> Store:
        store = Store(folder / "oxigraph")
        store.bulk_extend(quads(world))
        store.flush()
        return store


class TestDataset(TestStore):
    def world(self) -> World:
        return SourceContract.world(self)

    def make(self, world: World, folder: Path) -> Dataset:
        return Dataset(quads(world))

    def remove(self, kb: Dataset, entity: str, key: str, value: Any) -> None:
        kb.discard(property_quad(entity, key, value))


WORLD = """
ex:a ex:address [ ex:city "Ulm" ; ex:geo [ ex:lat 48.4 ] ] ; ex:members ( "Ann" ex:Bob ) ;
     ex:mass [ qudt:numericValue 42 ; qudt:unit unit:KiloGM ] ; ex:born "1968-05-03"^^xsd:date ;
     ex:motto "go"@en, "allez"@fr ; ex:lead ex:c9 ; ex:open true .
ex:c9 rdfs:label "Dr. Osei"@en-GB, "Frau Osei"@de ; ex:p9 1.5 .
ex:p9 rdfs:label "share" .
[] rdf:subject ex:a ; rdf:predicate ex:lead ; rdf:object ex:c9 ; ex:since 1998 .
"""


@pytest.mark.parametrize(("languages", "facts"), [(("en",), 11), (("de", "en"), 12)])
def test_rdflib_and_oxigraph_say_the_same(languages: tuple[str, ...], facts: int) -> None:
    text = PREFIXES + WORLD
    store = Store()
    store.load(text.encode(), format=RdfFormat.TURTLE)
    store.load(text.encode(), format=RdfFormat.TURTLE, to_graph=NamedNode(f"{EX}red"))
    dataset = RdflibDataset()
    dataset.default_graph.parse(data=text, format="turtle")
    dataset.graph(f"{EX}red").parse(data=text, format="turtle")
    ours = list(OxigraphSource(store, languages=languages).triples())
    theirs = list(RdfSource(dataset, languages=languages).triples())
    assert {str(fact.to_dict()) for fact in ours} == {str(fact.to_dict()) for fact in theirs}
    assert len({(fact.entity, fact.property, fact.value) for fact in ours}) == facts


def test_named_graphs_can_be_viewed() -> None:
    store = Store()
    ann, salary = NamedNode(f"{EX}Ann"), NamedNode(f"{EX}salary")
    for name in ("red", "blue"):
        store.add(Quad(ann, salary, Literal("70"), NamedNode(f"{EX}{name}")))
    store.add(Quad(NamedNode(f"{EX}Bo"), salary, Literal("50"), NamedNode(f"{EX}blue")))
    with as_store(store) as facts:
        red, blue = (facts.view(graph=f"{EX}{name}") for name in ("red", "blue"))
        assert [fact.entity for fact in facts.facts(red)] == ["Ann"]
        assert sorted(fact.entity for fact in facts.facts(blue)) == ["Ann", "Bo"]


def test_a_changed_store_is_picked_up() -> None:
    store = Store()
    store.update(f'INSERT DATA {{ <{EX}Aurora> <{EX}launchCode> "QX-7719" }}')
    with as_store(store) as facts:
        assert isinstance(facts.source, VersionedSource)
        assert not facts.refresh()
        store.update(
            f'DELETE WHERE {{ ?s ?p ?o }} ; INSERT DATA {{ <{EX}Aurora> <{EX}code> "ZT-0042" }}'
        )
        assert facts.refresh() == SyncReport(added=1, removed=1)


def test_a_store_may_be_written_meanwhile() -> None:
    store = Store()
    store.bulk_extend(
        Quad(NamedNode(f"{EX}e{i}"), NamedNode(f"{EX}p"), Literal(str(i))) for i in range(3000)
    )
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            extra = Quad(NamedNode(f"{EX}x{number}"), NamedNode(f"{EX}p"), Literal("x"))
            store.add(extra)
            store.remove(extra)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(5):
            # At every moment there are all the others and at most one of these.
            assert len(list(OxigraphSource(store).triples())) in (3000, 3001)
    finally:
        stop.set()
        writer.join()


def test_triple_terms_within_triple_terms() -> None:
    deep = "<a:a> <a:b> " + "<<( <a:s> <a:p> " * 50 + "<a:o>" + " )>>" * 50 + " ."
    text = f'{deep}\n<a:x> <a:says> <<( <a:s> <a:p> "o" )>> .'
    store = Store()
    store.extend(parse(text.encode(), RdfFormat.N_TRIPLES))
    with as_store(store) as facts:
        assert [(fact.entity, fact.property, fact.value) for fact in facts] == [
            ("a:x", "says", "a:s p o")
        ]


def test_a_damaged_store_is_an_error(tmp_path: Path) -> None:
    store = Store(tmp_path / "oxigraph")
    store.bulk_extend(
        Quad(NamedNode(f"{EX}e{i}"), NamedNode(f"{EX}p"), Literal(str(i) * 50))
        for i in range(20_000)
    )
    store.flush()
    for path in (tmp_path / "oxigraph").glob("*.sst"):
        path.write_bytes(b"\x00" * path.stat().st_size)
    with pytest.raises(SourceError, match="could not be read"):
        as_store(store)
