"""LadybugDB as facts: really opened, in memory or in a temporary folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ladybug
import pytest
from source_contract import VanishingSourceContract
from source_world import Relation, World, camel, snake, words

from kblam.errors import SourceError
from kblam.knowledge import KnowledgeStore, SyncReport
from kblam_integrations.sources import LadybugSource, as_store
from kblam_integrations.sources import ladybug as module


def facts(store: KnowledgeStore) -> set[tuple[str, str, str]]:
    return {(fact.entity, fact.property, fact.value) for fact in store}


def run(database: ladybug.Database, *queries: str, **parameters: Any) -> list[Any]:
    with ladybug.Connection(database) as connection:
        for query in queries:
            result = connection.execute(query, parameters)
        return list(result.get_all())


class TestLadybug(VanishingSourceContract):
    """One table of entities, a list for each property."""

    edge_properties = True
    exact_count = False  # nodes and relations, whatever their properties
    empty_values = ("", " ")

    def make(self, world: World, folder: Path) -> ladybug.Database:
        database = ladybug.Database(folder / "graph.lbug")
        keys = {snake(key) for properties in world.entities.values() for key in properties}
        columns = "".join(f", `{key}` STRING[]" for key in sorted(keys | {"motto"}))
        labels = {relation.label for relation in world.relations} | {"part of"}
        run(
            database,
            f"CREATE NODE TABLE Entity(name STRING PRIMARY KEY{columns})",
            *(
                f"CREATE REL TABLE `{camel(label)}`(FROM Entity TO Entity, since INT64)"
                for label in sorted(labels)
            ),
        )
        for name, properties in world.entities.items():
            texts = {snake(key): list(map(words, own)) for key, own in properties.items()}
            own = "".join(f", `{key}`: ${key}" for key in texts)
            run(database, f"CREATE (:Entity {{name: $name{own}}})", name=name, **texts)
        for relation in world.relations:
            self.relate(database, relation)
        return database

    def make_big(self, folder: Path) -> ladybug.Database:
        database = ladybug.Database(folder / "graph.lbug")
        run(
            database,
            "CREATE NODE TABLE Entity(name STRING PRIMARY KEY, "
            "code STRING, capacity INT64, region STRING)",
            "UNWIND range(0, 4999) AS i CREATE (:Entity {"
            "name: 'Station ' + lpad(CAST(i AS STRING), 5, '0'), "
            "code: 'S-' + CAST(i * 7919 % 100003 AS STRING), "
            "capacity: i, region: 'region ' + CAST(i % 97 AS STRING)})",
        )
        return database

    def add(self, kb: ladybug.Database, entity: str, key: str, value: Any) -> None:
        self.set(kb, entity, key, [*self.values(kb, entity, key), words(value)])

    def remove(self, kb: ladybug.Database, entity: str, key: str, value: Any) -> None:
        left = [item for item in self.values(kb, entity, key) if item != words(value)]
        self.set(kb, entity, key, left)

    def values(self, kb: ladybug.Database, entity: str, key: str) -> list[str]:
        found = run(kb, f"MATCH (n {{name: $name}}) RETURN n.`{snake(key)}`", name=entity)
        return list(found[0][0] or [])

    def set(self, kb: ladybug.Database, entity: str, key: str, values: list[str]) -> None:
        query = f"MATCH (n {{name: $name}}) SET n.`{snake(key)}` = $values"
        run(kb, query, name=entity, values=values)

    def relate(self, kb: ladybug.Database, relation: Relation) -> None:
        run(
            kb,
            "MATCH (a {name: $one}), (b {name: $two}) "
            f"CREATE (a)-[:`{camel(relation.label)}` {{since: $since}}]->(b)",
            one=relation.subject,
            two=relation.target,
            since=relation.properties.get("since"),
        )

    def unrelate(self, kb: ladybug.Database, relation: Relation) -> None:
        run(
            kb,
            f"MATCH (a {{name: $one}})-[r:`{camel(relation.label)}`]->(b {{name: $two}}) DELETE r",
            one=relation.subject,
            two=relation.target,
        )

    def content(self, kb: ladybug.Database) -> Any:
        return run(kb, "MATCH (n) RETURN n"), run(kb, "MATCH ()-[r]->() RETURN r")

    def refresh(self, store: KnowledgeStore, kb: ladybug.Database) -> SyncReport:
        return store.sync(self.source(kb))

    def vanish(self, kb: ladybug.Database) -> None:
        kb.close()


@pytest.fixture
def company() -> ladybug.Database:
    database = ladybug.Database(":memory:")
    run(
        database,
        "CREATE NODE TABLE Person(id INT64 PRIMARY KEY, name STRING, born DATE, seen TIMESTAMP, "
        "rest INTERVAL, pay DECIMAL(10,2), home STRUCT(city STRING, zip STRING), "
        "scores MAP(STRING, INT64), code UUID, photo BLOB, embedding FLOAT[2], at DOUBLE[])",
        "CREATE NODE TABLE `the firm`(key STRING PRIMARY KEY, size INT64)",
        "CREATE REL TABLE WORKS_AT(FROM Person TO `the firm`, FROM Person TO Person, since INT64)",
        "CREATE (:Person {id: 1, name: 'Ann', born: date('1968-02-03'), "
        "seen: timestamp('2020-01-02 03:04:05'), rest: interval('3 days 2 hours'), pay: 3.50, "
        "home: {city: 'Ulm', zip: ''}, scores: map(['chess'], [7]), "
        "code: uuid('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'), photo: BLOB('\\\\xAA'), "
        "embedding: [0.5, 1.0], at: [48.4, 9.9]})"
        "-[:WORKS_AT {since: 1998}]->(:`the firm` {key: 'Acme', size: 12})",
        "CREATE (:Person {id: 2})",
        "MATCH (a:Person {id: 1}), (b:Person {id: 2}) CREATE (a)-[:WORKS_AT]->(b)",
    )
    return database


def test_values_of_every_type_and_tables_of_any_name(company: ladybug.Database) -> None:
    with as_store(company) as store:
        assert facts(store) == {
            ("Ann", "type", "Person"),
            ("Ann", "id", "1"),
            ("Ann", "born", "1968-02-03"),
            ("Ann", "seen", "2020-01-02T03:04:05"),
            ("Ann", "rest", "3 days 2 hours"),
            ("Ann", "pay", "3.50"),
            ("Ann", "home city", "Ulm"),
            ("Ann", "scores chess", "7"),
            ("Ann", "code", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
            ("Ann", "at", "48.4"),
            ("Ann", "at", "9.9"),
            ("Acme", "type", "the firm"),
            ("Acme", "size", "12"),
            ("2", "type", "Person"),
            ("Ann", "WORKS_AT", "Acme"),
            ("Ann works at Acme", "since", "1998"),
            ("Ann", "WORKS_AT", "2"),
        }
        assert [fact.metadata for fact in store.search(property="WORKS_AT")] == [{"subject": 1}] * 2


def test_a_connection_and_what_holds_one(company: ladybug.Database) -> None:
    class KuzuLikeGraph:
        def __init__(self, conn: ladybug.Connection) -> None:
            self.conn = conn

    with ladybug.Connection(company) as connection, as_store(company) as direct:
        for kb in (connection, KuzuLikeGraph(connection)):
            with as_store(kb) as store:
                assert facts(store) == facts(direct)


def test_a_name_can_be_chosen(company: ladybug.Database) -> None:
    found = list(LadybugSource(company, name="id").triples())
    assert ("1", "name", "Ann") in {(fact.entity, fact.property, fact.value) for fact in found}
    assert json.dumps(found[0].to_dict())


def test_large_tables_are_read_in_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAGE", 7)
    database = ladybug.Database(":memory:")
    run(
        database,
        "CREATE NODE TABLE Item(id INT64 PRIMARY KEY, name STRING)",
        "CREATE REL TABLE Next(FROM Item TO Item)",
        "UNWIND range(1, 100) AS i CREATE (:Item {id: i, name: 'item ' + CAST(i AS STRING)})",
        "MATCH (a:Item), (b:Item) WHERE b.id = a.id + 1 CREATE (a)-[:Next]->(b)",
        "MATCH (n:Item) WHERE n.id = 50 DETACH DELETE n",
    )
    source = LadybugSource(database)
    relations = [fact for fact in source.triples() if fact.property == "Next"]
    assert len(relations) == 97
    assert source.count() == 99 + 97


def test_what_is_written_meanwhile_is_in_the_next_reading(company: ladybug.Database) -> None:
    source = LadybugSource(company)
    reading = source.triples()
    first = next(reading)
    run(
        company,
        "MATCH (a:`the firm`) CREATE (:Person {id: 3, name: 'Zoe'})-[:WORKS_AT]->(a)",
    )
    assert "Zoe" not in {fact.entity for fact in [first, *reading]}
    assert "Zoe" in {fact.entity for fact in source.triples()}


def test_a_query_that_takes_too_long(company: ladybug.Database) -> None:
    run(company, "UNWIND range(10, 300000) AS i CREATE (:Person {id: i})")
    with pytest.raises(SourceError, match=r"0\.001 seconds"):
        list(LadybugSource(company, timeout=0.001).triples())


def test_a_database_without_tables_is_empty() -> None:
    source = LadybugSource(ladybug.Database(":memory:"))
    assert list(source.triples()) == []
    assert source.count() == 0
