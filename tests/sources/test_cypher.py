"""Databases that speak Cypher over Bolt: a real ArcadeDB, real drivers and graphs over it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import neo4j
import pytest
from arcadedb_server import ArcadeServer, arcadedb_server
from langchain_neo4j import Neo4jGraph
from llama_index.core import MockEmbedding, PropertyGraphIndex
from llama_index.core.llms import MockLLM
from llama_index.graph_stores.neo4j import Neo4jPropertyGraphStore
from source_contract import VanishingSourceContract, said_by
from source_world import Relation, World, big_world, camel, snake

from kblam.errors import IncompleteSourceError, SourceError
from kblam.knowledge import KnowledgeStore, SyncReport
from kblam_integrations.sources import CypherSource, PropertyGraphSource, as_store
from kblam_integrations.sources import cypher as module

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def servers() -> Iterator[list[ArcadeServer]]:
    """The server of this module: the last one, for a test may have stopped those before it."""
    started: list[ArcadeServer] = []
    yield started
    for server in started:
        server.stop()


@pytest.fixture
def server(servers: list[ArcadeServer]) -> ArcadeServer:
    if not servers or not servers[-1].running:
        servers.append(arcadedb_server())
    return servers[-1]


@pytest.fixture
def driver(server: ArcadeServer) -> Iterator[neo4j.Driver]:
    with neo4j.GraphDatabase.driver(server.uri, auth=server.auth) as opened:
        run(opened, "MATCH (n) DETACH DELETE n")
        yield opened


def run(driver: neo4j.Driver, query: str, **parameters: Any) -> list[Any]:
    with driver.session(database=ArcadeServer.database) as session:
        return [tuple(record.values()) for record in session.run(query, parameters)]


def facts(store: KnowledgeStore) -> set[tuple[str, str, str]]:
    return {(fact.entity, fact.property, fact.value) for fact in store}


def storable(values: Any) -> list[Any]:
    """Return values as a driver takes them: it knows no decimals."""
    return [str(value) if isinstance(value, Decimal) else value for value in values]


class TestDriver(VanishingSourceContract):
    edge_properties = True
    exact_count = False  # nodes and relations, whatever their properties
    empty_values = ("", " ", float("nan"))

    @pytest.fixture(autouse=True)
    def _server(self, server: ArcadeServer, driver: neo4j.Driver) -> None:
        self.server, self.driver = server, driver
        self.secrets = (server.auth[1],)

    def make(self, world: World, folder: Path) -> Any:
        rows = [
            {"name": name, **{snake(key): storable(own) for key, own in properties.items()}}
            for name, properties in world.entities.items()
        ]
        run(self.driver, "UNWIND $rows AS row CREATE (n:Entity) SET n = row", rows=rows)
        for relation in world.relations:
            self.relate(None, relation)
        return self.driver

    def make_big(self, folder: Path) -> Any:
        rows = [
            {"name": name, **{key: own[0] for key, own in properties.items()}}
            for name, properties in big_world().entities.items()
        ]
        run(self.driver, "UNWIND $rows AS row CREATE (n:Entity) SET n = row", rows=rows)
        return self.driver

    def test_more_than_ten_thousand_nodes_and_relations(self) -> None:
        """Where servers like to cut."""
        query = "UNWIND range(1, 12000) AS i CREATE (:Item {name: 'item ' + toString(i)})"
        run(self.driver, query)
        run(self.driver, "MATCH (n:Item), (m:Item {name: 'item 7'}) CREATE (n)-[:NEAR]->(m)")
        triples = list(CypherSource(self.driver).triples())
        assert len({fact.entity for fact in triples}) == 12_000
        assert sum(fact.property == "NEAR" for fact in triples) == 12_000

    def add(self, kb: Any, entity: str, key: str, value: Any) -> None:
        self.set(entity, key, [*self.values(entity, key), value])

    def remove(self, kb: Any, entity: str, key: str, value: Any) -> None:
        self.set(entity, key, [item for item in self.values(entity, key) if item != value])

    def values(self, entity: str, key: str) -> list[Any]:
        query = f"MATCH (n:Entity {{name: $name}}) RETURN n.{snake(key)}"
        return list(run(self.driver, query, name=entity)[0][0] or [])

    def set(self, entity: str, key: str, values: list[Any]) -> None:
        query = f"MATCH (n:Entity {{name: $name}}) SET n.{snake(key)} = $values"
        run(self.driver, query, name=entity, values=values)

    def relate(self, kb: Any, relation: Relation) -> None:
        query = (
            "MATCH (a:Entity {name: $one}), (b:Entity {name: $two}) "
            f"CREATE (a)-[r:{camel(relation.label)}]->(b) SET r = $own"
        )
        ends = {"one": relation.subject, "two": relation.target}
        run(self.driver, query, own=dict(relation.properties), **ends)

    def unrelate(self, kb: Any, relation: Relation) -> None:
        run(
            self.driver,
            f"MATCH (a {{name: $one}})-[r:{camel(relation.label)}]->(b {{name: $two}}) DELETE r",
            one=relation.subject,
            two=relation.target,
        )

    def content(self, kb: Any) -> Any:
        return [
            sorted(map(repr, run(self.driver, query)))
            for query in (
                "MATCH (n) RETURN labels(n), properties(n)",
                "MATCH (a)-[r]->(b) RETURN a.name, type(r), properties(r), b.name",
            )
        ]

    def refresh(self, store: KnowledgeStore, kb: Any) -> SyncReport:
        return store.sync(self.source(kb))

    def vanish(self, kb: Any) -> None:
        self.server.stop()


def test_langchains_graph_is_unwrapped(driver: neo4j.Driver, server: ArcadeServer) -> None:
    run(driver, "CREATE (:Person {name: 'Ann'})-[:WORKS_AT]->(:Company {id: 'Acme'})")
    with (
        Neo4jGraph(server.uri, *server.auth, database="facts", refresh_schema=False) as graph,
        as_store(graph) as store,
    ):
        assert facts(store) == {
            ("Ann", "type", "Person"),
            ("Acme", "type", "Company"),
            ("Ann", "WORKS_AT", "Acme"),
        }
        graph.query("MATCH (n {id: 'Acme'}) SET n.city = 'Ulm'")
        assert store.sync(CypherSource(driver)) == SyncReport(added=1)


@pytest.fixture
def llama(driver: neo4j.Driver, server: ArcadeServer) -> Iterator[Neo4jPropertyGraphStore]:
    """A store of LlamaIndex's, with an entity from a chunk of text and one without."""
    user, password = server.auth
    graph = Neo4jPropertyGraphStore(
        user, password, server.uri, "facts", refresh_schema=False, create_indexes=False
    )
    inherited = {"author": "desk", "file_name": "a.txt", "triplet_source_id": "chunk-1"}
    # As the store writes it, but for APOC, which only Neo4j itself has.
    graph.structured_query(
        "CREATE (c:`__Node__`:Chunk {id: 'chunk-1', text: 'Ann works at Acme.', author: 'desk'}),"
        " (a:`__Node__`:`__Entity__`:PERSON {id: 'Ann', name: 'Ann', embedding: [0.5, 1.0]}),"
        " (b:`__Node__`:`__Entity__`:entity {id: 'Acme', name: 'Acme', city: 'Ulm'}),"
        " (d:`__Node__`:Chunk {id: 'Zoe'}), (e:`__Node__` {id: 'chunk-2'}),"
        " (c)-[:MENTIONS]->(a), (e)-[:MENTIONS]->(b), (a)-[:KNOWS]->(d),"
        " (a)-[r:WORKS_AT {since: 1998}]->(b) SET a += $inherited, r += $inherited",
        {"inherited": inherited},
    )
    yield graph
    graph.close()
    asyncio.run(graph._async_driver.close())  # which its own close() forgets


def test_llama_indexs_store_is_read_without_its_chunks(llama: Neo4jPropertyGraphStore) -> None:
    index = PropertyGraphIndex.from_existing(
        property_graph_store=llama,
        llm=MockLLM(),
        embed_model=MockEmbedding(4),
        embed_kg_nodes=False,
    )
    for kb in (llama, index):
        with as_store(kb) as store:
            assert facts(store) == {
                ("Ann", "type", "PERSON"),
                ("Acme", "city", "Ulm"),
                ("Ann", "WORKS_AT", "Acme"),
                ("Ann works at Acme", "since", "1998"),
                ("Ann", "KNOWS", "Zoe"),
            }
            (works,) = store.search(property="WORKS_AT")
            assert works.metadata == {"source": "chunk-1"}


def test_llama_indexs_own_methods_give_less_and_are_found_out(
    llama: Neo4jPropertyGraphStore,
) -> None:
    source = PropertyGraphSource(llama)
    with pytest.raises(IncompleteSourceError, match=r"Expected 2 relations .*got 1"):
        list(source.triples())
    llama.structured_query("MATCH (n {id: 'Zoe'}) DETACH DELETE n")
    with as_store(llama) as store:
        assert {(fact.entity, fact.property, fact.value) for fact in source.triples()} == facts(
            store
        )


def test_values_and_names_of_every_kind(driver: neo4j.Driver, server: ArcadeServer) -> None:
    run(
        driver,
        "CREATE (a:Person:Baker {fullName: 'Ann', born: date('1968-02-03'), "
        "seen: datetime('2020-01-02T03:04:05Z'), rest: duration('P1Y2M3DT4H'), "
        "at: point({latitude: 48.4, longitude: 9.9}), spot: point({x: 1, y: 2}), "
        "langs: ['en', 'fr'], ratio: 0.5, embedding: [0.5, 1.0], vector: $vector})"
        "-[:owns {since: date('1998-01-01')}]->(:Shop {shopId: 'S-7', size: 12}), "
        "(:Product {supplierName: 'Acme', productName: 'Bun'}), (:Thing {size: 3})",
        vector=[0.1] * 40,
    )
    with as_store(driver) as store:
        (thing,) = {fact.entity for fact in store if fact.value == "3"}
        assert thing.startswith("thing ")
        assert facts(store) == {
            ("Ann", "type", "Person"),
            ("Ann", "type", "Baker"),
            ("Ann", "born", "1968-02-03"),
            ("Ann", "seen", "2020-01-02T03:04:05+00:00"),
            ("Ann", "rest", "1 year 2 months 3 days 4 hours"),
            ("Ann", "at", "latitude 48.4, longitude 9.9"),
            ("Ann", "spot", "x 1, y 2"),
            ("Ann", "langs", "en"),
            ("Ann", "langs", "fr"),
            ("Ann", "ratio", "0.5"),
            ("Ann", "owns", "S-7"),
            ("Ann owns S-7", "since", "1998-01-01"),
            ("S-7", "type", "Shop"),
            ("S-7", "size", "12"),
            ("Bun", "type", "Product"),
            ("Bun", "supplierName", "Acme"),
            (thing, "type", "Thing"),
            (thing, "size", "3"),
        }
    chosen = CypherSource(driver, database="facts", name="supplierName")
    assert {fact.entity for fact in chosen.triples()} >= {"Acme", "Ann", "S-7"}


def test_documents_of_frameworks_are_no_facts_and_those_of_others_are(
    driver: neo4j.Driver,
) -> None:
    run(
        driver,
        "CREATE (:Document {id: 'd', text: 'Ann bakes.'})-[:MENTIONS]->(a:Person {id: 'Ann'}), "
        "(:Document {title: 'Bread', text: 'Take flour.'})-[:MENTIONS]->(a), "
        "(:`_Bloom_Scene_` {name: 'view', zoom: 2})",
    )
    with as_store(driver) as store:
        assert facts(store) == {
            ("Ann", "type", "Person"),
            ("Bread", "type", "Document"),
            ("Bread", "text", "Take flour."),
            ("Bread", "MENTIONS", "Ann"),
        }


def test_a_uri_with_its_password(driver: neo4j.Driver, server: ArcadeServer) -> None:
    run(driver, "CREATE (:Person {name: 'Ann', born: $born})", born=date(1968, 2, 3))
    user, password = server.auth
    address = server.uri.removeprefix("bolt://")
    for source in (
        CypherSource(server.uri, auth=server.auth, database="facts"),
        CypherSource(f"bolt://{user}:{password}@{address}", database="facts"),
    ):
        with as_store(source) as store:
            assert ("Ann", "born", "1968-02-03") in facts(store)
        assert repr(source) == f"CypherSource('bolt://{address}', database='facts')"
        assert source.count() == 1
    with as_store(f"bolt://{user}:{password}@{address}") as store:
        assert ("Ann", "born", "1968-02-03") in facts(store)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"auth": ("root", "hunter2-wrong")}, "AuthError.*Check user and password"),
        ({"database": "nothing"}, "ClientError.*Check the database's name"),
    ],
)
def test_what_the_server_refuses(server: ArcadeServer, options: Any, said: str) -> None:
    source = CypherSource(server.uri, **{"auth": server.auth, "database": "facts", **options})
    for read in (source.count, lambda: list(source.triples())):
        with pytest.raises(SourceError, match=said) as info:
            read()
        assert "hunter2" not in str(info.value)
        assert server.auth[1] not in str(info.value)


def test_a_server_that_keeps_silent(driver: neo4j.Driver, server: ArcadeServer) -> None:
    run(driver, "CREATE (:Person {name: 'Ann', born: 1968})")
    source = CypherSource(driver, database="facts")
    impatient = CypherSource(driver, database="facts", timeout=1)
    with as_store(source) as store:
        before = said_by(store)
        server.pause()
        try:
            with pytest.raises(SourceError, match=r"TimeoutError: nothing came for 1 seconds"):
                store.sync(impatient)
        finally:
            server.resume()
        assert said_by(store) == before
        assert not store.sync(source)


def test_a_count_leaves_nobody_at_the_driver(
    driver: neo4j.Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its owner may close it next, and Bolt connections are for one thread at a time."""
    closed: list[bool] = []
    close = neo4j.Session.close

    def late(session: neo4j.Session) -> None:
        time.sleep(0.2)
        close(session)
        closed.append(True)

    monkeypatch.setattr(neo4j.Session, "close", late)
    assert CypherSource(driver, database="facts").count() == 0
    assert closed == [True]


def test_a_server_that_cuts_is_noticed(
    driver: neo4j.Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(driver, "UNWIND range(1, 30) AS i CREATE (:Item {name: 'item ' + toString(i)})")
    monkeypatch.setattr(module, "_NODES", "MATCH (n) RETURN n LIMIT 25")
    with pytest.raises(IncompleteSourceError, match=r"Expected 30 nodes from .*got 25"):
        as_store(driver)


@pytest.mark.parametrize("uri", ["localhost:7687", "http://x", "", "bolt://[::1", "secret word"])
def test_what_is_no_uri(uri: str) -> None:
    with pytest.raises(SourceError, match="bolt://localhost:7687") as info:
        CypherSource(uri)
    assert "secret" not in str(info.value)
