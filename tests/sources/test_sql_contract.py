"""The contract of sources, for long and wide tables in SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from postgres_server import PostgresServer
from source_contract import VanishingSourceContract
from source_world import Relation, World, small_world, snake, words
from sqlalchemy import (
    URL,
    Boolean,
    Column,
    Date,
    Double,
    Engine,
    ForeignKey,
    Integer,
    MetaData,
    Numeric,
    Table,
    Text,
    create_engine,
    select,
)
from sqlalchemy.pool import NullPool

from kblam_integrations.sources import SqlSource

KINDS = {date: Date, int: Integer, Decimal: Numeric(6, 2), bool: Boolean, float: Double}


class Kb(SqlSource):
    """A source that remembers its table, and the engine that the tests write with."""

    engine: Engine
    rows: Table


class LongContract(VanishingSourceContract):
    """A table with a fact in each row."""

    empty_values = ("", " ", None)

    def url(self, folder: Path) -> URL:
        raise NotImplementedError

    def make(self, world: World, folder: Path) -> Kb:
        url = self.url(folder)
        kb = Kb(url, "facts", entity="subject", property="predicate", value="object")
        kb.engine = create_engine(url, poolclass=NullPool)
        names = ("subject", "predicate", "object")
        kb.rows = Table("facts", MetaData(), *(Column(name, Text) for name in names))
        kb.rows.metadata.create_all(kb.engine)
        rows = [self.row(*triple) for triple in world.triples()]
        self.write(kb, *([kb.rows.insert(), rows] if rows else [select(1)]))
        return kb

    def add(self, kb: Kb, entity: str, key: str, value: Any) -> None:
        self.write(kb, kb.rows.insert().values(**self.row(entity, key, value)))

    def remove(self, kb: Kb, entity: str, key: str, value: Any) -> None:
        parts = self.row(entity, key, value)
        self.write(kb, kb.rows.delete().filter_by(**parts))

    def content(self, kb: Kb) -> Any:
        with kb.engine.connect() as connection:
            return connection.execute(select(kb.rows)).all()

    def write(self, kb: Kb, *arguments: Any) -> None:
        with kb.engine.begin() as connection:
            connection.execute(*arguments)

    def row(self, entity: str, key: str, value: Any) -> dict[str, Any]:
        text = value if value is None else words(value) or value
        return {"subject": entity, "predicate": snake(key), "object": text}


class WideContract(LongContract):
    """A table with an entity in each row; relations are foreign keys into it."""

    several_values = False

    def make(self, world: World, folder: Path) -> Kb:
        url = self.url(folder)
        kb = Kb(url, "things", entity="name")
        kb.engine = create_engine(url, poolclass=NullPool)
        kb.rows = Table("things", MetaData(), *self.columns(world))
        kb.rows.metadata.create_all(kb.engine)
        if rows := self.rows(world):
            self.write(kb, kb.rows.insert(), rows)
        for relation in world.relations:
            self.relate(kb, relation)
        return kb

    def columns(self, world: World) -> list[Column[Any]]:
        first = {
            key: values[0]
            for known in (small_world(), world)
            for properties in known.entities.values()
            for key, values in properties.items()
        }
        labels = dict.fromkeys(item.label for item in small_world().relations)
        return [
            Column("id", Integer, primary_key=True),
            Column("name", Text),
            *(Column(snake(key), KINDS.get(type(value), Text)) for key, value in first.items()),
            *(Column(f"{snake(label)}_id", ForeignKey("things.id")) for label in labels),
        ]

    def rows(self, world: World) -> list[dict[str, Any]]:
        keys = {key for properties in world.entities.values() for key in properties}
        return [
            {"name": name, **{snake(key): properties.get(key, [None])[0] for key in keys}}
            for name, properties in world.entities.items()
        ]

    def add(self, kb: Kb, entity: str, key: str, value: Any) -> None:
        self.set(kb, entity, snake(key), value)

    def remove(self, kb: Kb, entity: str, key: str, value: Any) -> None:
        self.set(kb, entity, snake(key), None)

    def relate(self, kb: Kb, relation: Relation) -> None:
        target = select(kb.rows.alias().c.id).filter_by(name=relation.target).scalar_subquery()
        self.set(kb, relation.subject, f"{snake(relation.label)}_id", target)

    def unrelate(self, kb: Kb, relation: Relation) -> None:
        self.set(kb, relation.subject, f"{snake(relation.label)}_id", None)

    def set(self, kb: Kb, entity: str, column: str, value: Any) -> None:
        self.write(kb, kb.rows.update().filter_by(name=entity).values({column: value}))


class SqliteContract(LongContract):
    def url(self, folder: Path) -> URL:
        return URL.create("sqlite", database=str(folder / "facts.sqlite3"))

    def vanish(self, kb: Kb) -> None:
        Path(kb.engine.url.database or "").unlink()


class TestSqliteLong(SqliteContract):
    pass


class TestSqliteWide(SqliteContract, WideContract):
    pass


@pytest.mark.integration
class PostgresContract(LongContract):
    @pytest.fixture(autouse=True)
    def server(self, postgres: PostgresServer) -> Iterator[None]:
        self.postgres = postgres
        self.secrets = (postgres.password,)
        yield
        postgres.start()  # unless it runs: a test may have stopped it

    def url(self, folder: Path) -> URL:
        return self.postgres.fresh()

    def vanish(self, kb: Kb) -> None:
        self.postgres.stop()


class TestPostgresLong(PostgresContract):
    pass


class TestPostgresWide(PostgresContract, WideContract):
    pass
