"""SPARQL endpoints as facts, behind the servers that people run."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from pyoxigraph import BlankNode, Literal, NamedNode, Quad, RdfFormat, Store, Triple
from rdf_worlds import EX, LABEL, edge_of, normalised, property_quad, quad, quads
from rdflib import Dataset, Graph, URIRef
from rdflib.plugins.stores.sparqlstore import SPARQLStore
from source_contract import SourceContract, VanishingSourceContract, said_by
from source_world import BIG, Relation, World, big_world
from sparql_servers import MOST_ROWS, Server, Virtuoso, running_oxigraph, running_virtuoso
from typer.testing import CliRunner

from kblam.cli import app
from kblam.errors import SourceError
from kblam.knowledge import KnowledgeStore
from kblam_integrations.sources import OxigraphSource, SparqlSource, as_store

pytestmark = pytest.mark.integration

SECRET = "hunter2"


class Endpoint(SparqlSource):
    """A source that knows its server, as the contract changes what is read."""

    server: Server
    graph: str = ""

    def change(self, verb: str, found: Quad) -> None:
        triple = f"{found.subject} {found.predicate} {found.object} ."
        triple = f"GRAPH <{self.graph}> {{ {triple} }}" if self.graph else triple
        self.server.run(f"{verb} DATA {{ {triple} }}")


class EndpointContract(SourceContract):
    """What is the same for all servers."""

    exact_count = False  # it counts the labels too
    empty_values = ("", " ")
    secrets = (SECRET,)

    def world(self) -> World:
        return normalised(super().world())

    def add(self, kb: Endpoint, entity: str, key: str, value: Any) -> None:
        kb.change("INSERT", property_quad(entity, key, value))

    def remove(self, kb: Endpoint, entity: str, key: str, value: Any) -> None:
        kb.change("DELETE", property_quad(entity, key, value))

    def relate(self, kb: Endpoint, relation: Relation) -> None:
        kb.change("INSERT", quad(*edge_of(relation)))

    def unrelate(self, kb: Endpoint, relation: Relation) -> None:
        kb.change("DELETE", quad(*edge_of(relation)))

    def content(self, kb: Endpoint) -> Any:
        return sorted(map(str, kb.triples()))


class TestOxigraphServer(EndpointContract, VanishingSourceContract):
    """Oxigraph's own server, downloaded from its graph store."""

    edge_properties = True
    options: dict[str, Any] = {}

    @pytest.fixture(autouse=True)
    def servers(self) -> Iterator[None]:
        with ExitStack() as self.running:
            yield

    def make(self, world: World, folder: Path) -> Endpoint:
        folder = folder / os.urandom(4).hex()
        server = self.running.enter_context(running_oxigraph(folder, quads(world)))
        # It asks for no password, and is given one all the same.
        url = server.query.replace("http://", f"http://ann:{SECRET}@")
        source = Endpoint(url, headers={"X-Key": SECRET}, **self.options)
        source.server = server
        return source

    def vanish(self, kb: Endpoint) -> None:
        kb.server.stop()


class TestOxigraphServerInPages(TestOxigraphServer):
    """As a server without a graph store, in small pages."""

    options = {"graph_store": None, "page_size": 7}

    def make_big(self, folder: Path) -> Endpoint:
        self.options = {"graph_store": None, "page_size": 4000}
        return super().make_big(folder)


@pytest.fixture(scope="module")
def virtuoso(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Virtuoso]:
    with running_virtuoso(tmp_path_factory.mktemp("virtuoso")) as server:
        yield server


def test_virtuoso_is_read_as_a_whole(virtuoso: Virtuoso) -> None:
    graph = f"{EX}nested"
    seat, motto = BlankNode("seat"), NamedNode(f"{EX}motto")
    found = [
        quad(NamedNode(f"{EX}Acme"), NamedNode(f"{EX}seat"), seat),
        quad(seat, NamedNode(f"{EX}city"), Literal("Ulm")),
        quad(NamedNode(f"{EX}Acme"), motto, Literal("go", language="en")),
        quad(NamedNode(f"{EX}Acme"), motto, Literal("allez", language="fr")),
        quad(NamedNode(f"{EX}Acme"), motto, Literal("allons")),
    ]
    virtuoso.load(graph, found)
    with as_store(SparqlSource(virtuoso.query)) as store:
        # Its default graph is all graphs in one, and would only repeat them.
        ours = {fact for fact in store if fact.metadata["graph"] == [graph]}
        assert {(fact.entity, fact.property, fact.value) for fact in ours} == {
            ("Acme", "seat city", "Ulm"),
            ("Acme", "motto", "go"),
            ("Acme", "motto", "allons"),
        }
        assert not any("virtrdf" in str(fact.metadata) for fact in store)


class TestVirtuoso(EndpointContract):
    """Debian's Virtuoso, which gives at most 10,000 rows; a graph for each test."""

    @pytest.fixture(autouse=True)
    def server(self, virtuoso: Virtuoso) -> None:
        self.virtuoso = virtuoso

    def make(self, world: World, folder: Path) -> Endpoint:
        graph = f"{EX}{os.urandom(8).hex()}"
        self.virtuoso.load(graph, quads(world))
        source = Endpoint(self.virtuoso.query, graphs=graph, headers={"X-Key": SECRET})
        source.server, source.graph = self.virtuoso, graph
        return source


def test_virtuoso_is_read_beyond_its_limit(virtuoso: Virtuoso) -> None:
    world, graph = big_world(19_500), f"{EX}big"
    virtuoso.load(graph, quads(world))
    assert len(quads(world)) == 26_000 > 2 * MOST_ROWS
    # Its own graph store cuts without a word, as does a query for larger pages.
    crud = virtuoso.query.replace("/sparql", "/sparql-graph-crud")
    for options in ({}, {"page_size": 50_000, "graph_store": crud}):
        with as_store(SparqlSource(virtuoso.query, graphs=graph, **options)) as store:
            assert said_by(store) == world.facts()


@pytest.fixture(scope="module")
def oxigraph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with two named graphs, and a default graph with a fact of its own."""
    ann, bo, cid = (NamedNode(f"{EX}{name}") for name in ("Ann", "Bo", "Cid"))
    salary, city, address = (NamedNode(f"{EX}{name}") for name in ("salary", "city", "address"))
    red, blue, somewhere = NamedNode(f"{EX}red"), NamedNode(f"{EX}blue"), BlankNode("somewhere")
    found = [
        Quad(ann, salary, Literal("70"), red),
        Quad(ann, salary, Literal("70"), blue),
        Quad(bo, LABEL, Literal("Bo Lind"), blue),
        Quad(bo, salary, Literal("50"), blue),
        Quad(bo, address, somewhere, blue),
        Quad(somewhere, city, Literal("Ulm"), blue),
        Quad(cid, salary, Literal("40")),
        Quad(cid, NamedNode(f"{EX}says"), Triple(ann, salary, Literal("80"))),
    ]
    with running_oxigraph(tmp_path_factory.mktemp("oxigraph"), found) as server:
        yield server


ANN, BO = ("Ann", "salary", "70"), ("Bo Lind", "salary", "50")
ULM, CID = ("Bo Lind", "address city", "Ulm"), ("Cid", "salary", "40")
SAYS = ("Cid", "says", "Ann salary 80")


def test_an_endpoint_says_the_same_as_its_store(oxigraph: Server) -> None:
    store = Store()
    dump = httpx.get(oxigraph.query.replace("/query", "/store")).content
    store.load(dump, format=RdfFormat.N_QUADS)
    expected = sorted(str(fact.to_dict()) for fact in OxigraphSource(store).triples())
    assert len(expected) == 5
    for options in ({}, {"graph_store": None}, {"graph_store": None, "page_size": 1}):
        source = SparqlSource(oxigraph.query, **options)
        assert sorted(str(fact.to_dict()) for fact in source.triples()) == expected
        assert source.count() == len(store)


@pytest.mark.parametrize("graph_store", ["auto", None])
def test_graphs_may_be_chosen(oxigraph: Server, graph_store: str | None) -> None:
    def facts(graphs: Any) -> set[tuple[str, str, str]]:
        source = SparqlSource(oxigraph.query, graphs=graphs, graph_store=graph_store)
        with as_store(source) as store:
            return said_by(store)

    assert facts("default") == {CID, SAYS}
    assert facts(f"{EX}red") == {ANN}
    assert facts([f"{EX}red", f"{EX}blue"]) == {ANN, BO, ULM}


def test_named_graphs_can_be_viewed(oxigraph: Server) -> None:
    with as_store(SparqlSource(oxigraph.query)) as store:
        assert {fact.entity for fact in store.facts(store.view(graph=f"{EX}blue"))} == {
            "Ann",
            "Bo Lind",
        }


def test_the_address_of_an_endpoint_will_do(oxigraph: Server) -> None:
    with as_store(oxigraph.query) as store:
        assert said_by(store) == {ANN, BO, ULM, CID, SAYS}


def test_the_command_line_reads_an_endpoint(oxigraph: Server, tmp_path: Path) -> None:
    path = tmp_path / "facts.db"
    done = CliRunner().invoke(app, ["index", oxigraph.query, str(path), "--no-encode"])
    assert done.exit_code == 0, done.output
    with KnowledgeStore(path) as store:
        assert said_by(store) == {ANN, BO, ULM, CID, SAYS}
    gone = oxigraph.query.replace("/query", "/nothing")
    failed = CliRunner().invoke(app, ["sync", gone, str(tmp_path / "mirror.db"), "--no-encode"])
    assert failed.exit_code != 0
    assert "answered 404" in failed.output


def test_rdflib_graphs_on_an_endpoint(oxigraph: Server) -> None:
    endpoint = SPARQLStore(oxigraph.query, auth=("ann", SECRET))
    graphs: list[tuple[Graph, set[Any]]] = [
        (Graph(endpoint), {CID, SAYS}),
        (Graph(endpoint, identifier=URIRef(f"{EX}red")), {ANN}),
        (Dataset(endpoint), {ANN, BO, ULM, CID, SAYS}),
    ]
    for graph, expected in graphs:
        with as_store(graph) as store:
            assert said_by(store) == expected
            assert SECRET not in str(vars(store))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"endpoint": "/nothing"}, r"/nothing answered 404"),
        ({"graph_store": "/nothing"}, r"/nothing answered 404"),
        ({"endpoint": "/"}, r"answered"),
    ],
)
def test_a_wrong_address_is_named(oxigraph: Server, options: Any, message: str) -> None:
    given = {key: oxigraph.query.replace("/query", value) for key, value in options.items()}
    with pytest.raises(SourceError, match=message):
        list(SparqlSource(**{"endpoint": oxigraph.query, **given}).triples())


@pytest.mark.parametrize("graph_store", ["auto", None])
def test_a_server_that_is_killed_while_it_is_read(tmp_path: Path, graph_store: str | None) -> None:
    with running_oxigraph(tmp_path, quads(big_world())) as server, KnowledgeStore() as store:
        store.follow(SparqlSource(server.query))
        before = store.fingerprint
        source = SparqlSource(server.query, graph_store=graph_store, page_size=20)
        killer = threading.Timer(0.3, server.stop)
        killer.start()
        with pytest.raises(SourceError, match=r"Is it (still )?running"):
            for _ in iter(lambda: store.follow(source), None):
                pass
        killer.join()
        assert store.fingerprint == before
        assert len(store) == BIG
