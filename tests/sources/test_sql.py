"""Tables of SQL databases as facts: what the contract does not ask."""

from __future__ import annotations

import os
import sqlite3
import threading
import traceback
from collections.abc import Iterator
from contextlib import closing
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from postgres_server import PostgresServer
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.pool import NullPool

from kblam.errors import (
    ConfigError,
    FactError,
    IncompleteSourceError,
    MissingExtraError,
    SourceError,
    UnsupportedSourceError,
)
from kblam.knowledge import KnowledgeStore, SyncReport
from kblam_integrations.sources import SqlSource, as_store

COMPANY = """
CREATE TABLE companies (id INTEGER PRIMARY KEY, name TEXT, founded INTEGER);
CREATE TABLE offices (code TEXT PRIMARY KEY, city TEXT);
CREATE TABLE people (
    id INTEGER PRIMARY KEY, full_name TEXT, born DATE, height REAL,
    employer_id INTEGER REFERENCES companies (id), boss_id INTEGER REFERENCES people (id),
    office TEXT REFERENCES offices (code), team TEXT
);
INSERT INTO companies VALUES (1, 'Acme', 1968), (2, NULL, NULL);
INSERT INTO offices VALUES ('ULM', 'Ulm an der Donau');
INSERT INTO people VALUES
    (7, 'Ann Lee', '1968-05-03', 175, 1, NULL, 'ULM', 'red'),
    (8, 'Bo Kim', 'about 1970', NULL, 2, 7, NULL, 'blue'),
    (9, NULL, '2001-01-01', 160, 1, 7, NULL, 'red');
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "company.sqlite3"


@pytest.fixture
def url(file: Path) -> str:
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(COMPANY)
    return f"sqlite:///{file}"


@pytest.fixture
def engine(url: str) -> sa.Engine:
    return sa.create_engine(url, poolclass=NullPool)


@pytest.fixture
def server(postgres: PostgresServer) -> Iterator[sa.Engine]:
    """An engine whose tables no other test sees."""
    postgres.start()
    engine = sa.create_engine(postgres.fresh())
    yield engine
    engine.dispose()


def facts(source: SqlSource) -> set[tuple[str, str, str]]:
    return {(triple.entity, triple.property, triple.value) for triple in source.triples()}


def run(engine: sa.Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def test_rows_are_entities_and_foreign_keys_are_names(url: str) -> None:
    source = SqlSource(url, "people", entity="full_name")
    assert facts(source) == {
        ("Ann Lee", "born", "1968-05-03"),
        ("Ann Lee", "height", "175.0"),
        ("Ann Lee", "employer", "Acme"),
        ("Ann Lee", "office", "ULM"),  # an office has no column that is a name
        ("Ann Lee", "team", "red"),
        ("Bo Kim", "born", "about 1970"),  # SQLite keeps what it is given
        ("Bo Kim", "employer", "2"),  # a company without a name keeps its key
        ("Bo Kim", "boss", "Ann Lee"),
        ("Bo Kim", "team", "blue"),
    }
    assert source.count() == 9


def test_columns_names_units_references_and_metadata_are_chosen(url: str) -> None:
    source = SqlSource(
        url,
        "people",
        entity="full_name",
        columns={"height": "size", "office": "works in", "employer_id": "company number"},
        references={"office": "city", "employer_id": None},
        units={"height": "cm"},
        metadata=["team", "boss_id"],
    )
    assert facts(source) == {
        ("Ann Lee", "size", "175.0 cm"),
        ("Ann Lee", "works in", "Ulm an der Donau"),
        ("Ann Lee", "company number", "1"),
        ("Bo Kim", "company number", "2"),
    }
    with as_store(source) as store:
        (fact,) = store.search(entity="Bo Kim")
        assert fact.metadata == {"team": "blue", "boss_id": "Ann Lee"}
        assert [fact.entity for fact in store.facts(store.view(team="blue"))] == ["Bo Kim"]


def test_a_list_of_columns_keeps_their_names(url: str) -> None:
    source = SqlSource(url, "people", entity="full_name", columns=["team"])
    assert facts(source) == {("Ann Lee", "team", "red"), ("Bo Kim", "team", "blue")}


def test_long_tables_have_units_and_identifiers(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript("""
            CREATE TABLE facts (id INTEGER, what TEXT, attribute TEXT, amount NUMERIC, unit);
            INSERT INTO facts VALUES (1, 'Aurora', 'length', 6.5, 'm');
            INSERT INTO facts VALUES (2, 'Aurora', 'crew', 4, ''), (3, 'Aurora', NULL, 4, NULL);
            INSERT INTO facts VALUES (4, '', 'crew', 4, NULL);
        """)
        source = SqlSource(
            f"sqlite:///{file}",
            "facts",
            entity="what",
            property="attribute",
            value="amount",
            units="unit",
            id="id",
        )
        assert facts(source) == {("Aurora", "length", "6.5 m"), ("Aurora", "crew", "4")}
        with as_store(source) as store:
            connection.execute("UPDATE facts SET amount = 5 WHERE id = 2")
            connection.commit()
            assert store.refresh()
            assert {fact.id: fact.value for fact in store} == {"1": "6.5 m", "2": "5"}


def test_tables_and_selects_of_sqlalchemy(engine: sa.Engine) -> None:
    metadata = sa.MetaData()
    metadata.reflect(engine)
    people, companies = metadata.tables["people"], metadata.tables["companies"]
    whole = facts(SqlSource(engine, "people", entity="full_name"))
    assert facts(SqlSource(engine, people, entity="full_name")) == whole
    assert facts(SqlSource(engine, sa.select(people), entity="full_name")) >= {
        ("Ann Lee", "employer", "Acme")
    }
    employed = sa.select(
        people.c.full_name.label("who"),
        sa.literal("works at").label("what"),
        companies.c.name.label("whom"),
    ).join_from(people, companies)
    source = SqlSource(engine, employed, entity="who", property="what", value="whom")
    assert facts(source) == {("Ann Lee", "works at", "Acme")}
    assert source.count() == 1
    text = sa.text("SELECT name, founded FROM companies WHERE founded > :year").bindparams(year=1)
    named = text.columns(sa.column("name"), sa.column("founded"))
    assert facts(SqlSource(engine, named, entity="name")) == {("Acme", "founded", "1968")}


def test_a_mapped_class(engine: sa.Engine) -> None:
    class Base(DeclarativeBase):
        pass

    class Company(Base):
        __tablename__ = "companies"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str]
        founded: Mapped[int]

    assert facts(SqlSource(engine, Company, entity="name")) == {("Acme", "founded", "1968")}


def test_views_and_schemas(engine: sa.Engine, tmp_path: Path) -> None:
    run(engine, "CREATE VIEW red AS SELECT full_name, team FROM people WHERE team = 'red'")
    view = SqlSource(engine, "red", entity="full_name")
    assert facts(view) == {("Ann Lee", "team", "red")}
    assert view.state() is None
    with closing(sqlite3.connect(tmp_path / "other.sqlite3")) as connection:
        connection.executescript("CREATE TABLE t (name, size); INSERT INTO t VALUES ('a', 1)")

    @sa.event.listens_for(engine, "connect")
    def attach(connection: Any, _: Any) -> None:
        connection.execute("ATTACH ? AS warehouse", (str(tmp_path / "other.sqlite3"),))

    other = SqlSource(engine, "t", entity="name", schema="warehouse")
    assert facts(other) == {("a", "size", "1")}
    assert other.state() is None
    assert "'warehouse.t'" in repr(other)


NAMES = ['say "hi"', "it's; DROP TABLE x;--", "100%s", ":name", "a.b", "日本", "?", "select", "[x]"]


@pytest.mark.parametrize("name", NAMES)
def test_identifiers_are_quoted(engine: sa.Engine, name: str) -> None:
    table = sa.Table(name, sa.MetaData(), *(sa.Column(f"{name}{i}", sa.Text) for i in range(2)))
    table.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(table.insert(), [{f"{name}0": name, f"{name}1": name}])
    source = SqlSource(engine, name, entity=f"{name}0")
    assert facts(source) == {(name, f"{name}1", name)}


@pytest.mark.integration
@pytest.mark.parametrize("name", NAMES)
def test_identifiers_are_quoted_on_postgresql(server: sa.Engine, name: str) -> None:
    test_identifiers_are_quoted(server, name)


@pytest.mark.filterwarnings("ignore:.*Decimal objects natively")  # when they are written
def test_types_in_sqlite(engine: sa.Engine) -> None:
    columns = {
        "price": (sa.Numeric(10, 2), Decimal("6.80"), "6.80"),
        "exact": (sa.Numeric(), 12345, "12345"),
        "moment": (sa.DateTime(), datetime(2031, 3, 3, 9, 30), "2031-03-03 09:30:00"),
        "day": (sa.Date(), date(2031, 3, 3), "2031-03-03"),
        "open": (sa.Boolean(), False, "false"),
        "picture": (sa.LargeBinary(), b"\x00\xff", None),
        "tags": (sa.JSON(), ["a", {"size": 2.5}], None),
    }
    table = sa.Table(
        "things",
        sa.MetaData(),
        sa.Column("name", sa.Text),
        *(sa.Column(key, kind) for key, (kind, _, _) in columns.items()),
    )
    table.metadata.create_all(engine)
    with engine.begin() as connection:
        values = {key: value for key, (_, value, _) in columns.items()}
        connection.execute(table.insert(), [{"name": "x", **values}])
    expected = {("x", key, text) for key, (_, _, text) in columns.items() if text}
    expected |= {("x", "tags", "a"), ("x", "tags size", "2.5")}
    assert facts(SqlSource(engine, "things", entity="name")) == expected
    assert facts(SqlSource(engine, table, entity="name")) == expected


def test_decimals_in_sqlite_keep_every_digit(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(
            "CREATE TABLE accounts (name TEXT, number NUMERIC(18, 0), sum DECIMAL(20, 2));"
            "INSERT INTO accounts VALUES ('a', 123456789012345678, 9007199254740993);"
            "INSERT INTO accounts VALUES ('b', -1, 6.8), ('c', 'unknown', -9007199254740993);"
        )
    assert facts(SqlSource(f"sqlite:///{file}", "accounts", entity="name")) == {
        ("a", "number", "123456789012345678"),
        ("a", "sum", "9007199254740993.00"),
        ("b", "number", "-1"),
        ("b", "sum", "6.80"),
        ("c", "number", "unknown"),
        ("c", "sum", "-9007199254740993.00"),
    }


def test_sqlite_keeps_more_than_was_declared(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(
            "CREATE TABLE doses (name TEXT, mg DECIMAL(6, 1), rate NUMERIC(10, 0), off BOOLEAN);"
            "INSERT INTO doses VALUES ('a', 0.25, 1.5, 'false'), ('b', 0.5, 2, 0);"
            "INSERT INTO doses VALUES ('c', 99.95, 2.0, 'unknown'), ('d', 1, 1, 1);"
        )
    source = SqlSource(f"sqlite:///{file}", "doses", entity="name")
    assert facts(source) == {
        ("a", "mg", "0.25"),
        ("a", "rate", "1.5"),
        ("a", "off", "false"),
        ("b", "mg", "0.5"),
        ("b", "rate", "2"),
        ("b", "off", "false"),
        ("c", "mg", "99.95"),
        ("c", "rate", "2"),
        ("c", "off", "unknown"),
        ("d", "mg", "1.0"),
        ("d", "rate", "1"),
        ("d", "off", "true"),
    }
    told = SqlSource(f"sqlite:///{file}", "doses", entity="name", metadata=["off"])
    assert {fact.metadata["off"] for fact in told.triples()} == {"false", False, "unknown", True}


POSTGRES_TYPES = {
    "price": ("numeric(12,4)", "'6.8000'", {"6.8000"}),
    "huge": (
        "numeric",
        "'123456789012345678901234567890.10'",
        {"123456789012345678901234567890.10"},
    ),
    "power": ("numeric", "'1e30'", {"1" + "0" * 30}),
    "unknown": ("numeric", "'NaN'", set()),
    "ratio": ("float8", "'NaN'", set()),
    "day": ("date", "'infinity'", {"infinity"}),
    "ides": ("date", "'0044-03-15 BC'", {"0044-03-15 BC"}),
    "moment": ("timestamptz", "'2031-03-03 09:30+02'", {"2031-03-03 07:30:00+00"}),
    "plain": ("timestamp", "'2031-03-03 09:30'", {"2031-03-03 09:30:00"}),
    "hour": ("time", "'09:30'", {"09:30:00"}),
    "term": ("interval", "'1 year 2 mons 3 days'", {"1 year 2 mons 3 days"}),
    "colours": ("text[]", "ARRAY['red', NULL, 'a,\"b']", {"red", 'a,"b'}),
    "mood": ("mood", "'very happy'", {"very happy"}),
    "number": (
        "uuid",
        "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'",
        {"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"},
    ),
    "host": ("inet", "'192.168.0.1'", {"192.168.0.1"}),
    "picture": ("bytea", "'\\x00ff'", set()),
    "search": ("tsvector", "'wide open'", {"'open' 'wide'"}),
    "cost": ("money", "12.5", {"$12.50"}),
}


@pytest.mark.integration
def test_types_in_postgresql(server: sa.Engine) -> None:
    types = ", ".join(f"{name} {kind}" for name, (kind, _, _) in POSTGRES_TYPES.items())
    values = ", ".join(value for _, value, _ in POSTGRES_TYPES.values())
    run(
        server,
        "CREATE TYPE mood AS ENUM ('sad', 'very happy')",
        f"CREATE TABLE things (id serial PRIMARY KEY, name text, doc jsonb, {types})",
        f"INSERT INTO things VALUES (1, 'x', '{{\"size\": {{\"cm\": 1.50}}}}', {values})",
    )
    expected = {("x", key, text) for key, (_, _, texts) in POSTGRES_TYPES.items() for text in texts}
    assert facts(SqlSource(server, "things", entity="name")) == expected | {
        ("x", "doc size cm", "1.5")
    }


@pytest.mark.integration
def test_schemas_of_postgresql(server: sa.Engine) -> None:
    run(
        server,
        'CREATE SCHEMA "hr; x"',
        'CREATE TABLE "hr; x".units (id int PRIMARY KEY, title text)',
        'CREATE TABLE "hr; x".people (name text, unit_id int REFERENCES "hr; x".units)',
        "INSERT INTO \"hr; x\".units VALUES (1, 'Sales')",
        "INSERT INTO \"hr; x\".people VALUES ('Ann', 1)",
    )
    source = SqlSource(server, "people", entity="name", schema="hr; x")
    assert facts(source) == {("Ann", "unit", "Sales")}
    with pytest.raises(SourceError, match="no table 'people' in the database"):
        facts(SqlSource(server, "people", entity="name"))


@pytest.mark.integration
def test_a_reading_sees_one_state(server: sa.Engine) -> None:
    run(
        server,
        "CREATE TABLE stations (name text, code int)",
        "INSERT INTO stations SELECT 'station ' || i, 0 FROM generate_series(1, 15000) i",
    )
    source = SqlSource(server, "stations", entity="name")
    cursors = set()

    @sa.event.listens_for(server, "before_cursor_execute")
    def note(_: Any, cursor: Any, statement: str, *__: Any) -> None:
        if "c0" in statement:
            cursors.add(type(cursor).__name__)

    reading = source.triples()
    first = next(reading)
    run(
        server,
        "UPDATE stations SET code = 1",
        "DELETE FROM stations WHERE name LIKE '%%7'",
        "INSERT INTO stations VALUES ('new', 2)",
    )
    assert {first.value, *(triple.value for triple in reading)} == {"0"}
    assert cursors == {"ServerCursor"}  # not the whole result at once
    assert len(facts(source)) == 15_000 - 1_500 + 1


@pytest.mark.integration
def test_a_busy_writer_never_shows_half_a_change(server: sa.Engine) -> None:
    run(
        server,
        "CREATE TABLE pairs (name text, version int)",
        "INSERT INTO pairs SELECT 'pair ' || i, 0 FROM generate_series(1, 1000) i",
    )
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            run(
                server,
                "UPDATE pairs SET version = version + 1",
                "DELETE FROM pairs WHERE name LIKE 'extra%%'",
                "INSERT INTO pairs SELECT 'extra ' || i, (SELECT max(version) FROM pairs) "
                "FROM generate_series(1, (SELECT max(version) FROM pairs)) i",
            )

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with KnowledgeStore() as store:
            store.follow(SqlSource(server, "pairs", entity="name"))
            for _ in range(4):
                store.refresh()
                (version,) = {fact.value for fact in store}
                assert len(store) == 1_000 + int(version)
    finally:
        stop.set()
        writer.join()


@pytest.mark.integration
def test_the_state_follows_commits(server: sa.Engine) -> None:
    run(server, "CREATE TABLE t (name text, size int)", "INSERT INTO t VALUES ('a', 1)")
    source = SqlSource(server, "t", entity="name")
    with as_store(source) as store, server.connect() as writer:
        assert source.state() is not None
        assert source.state() == source.state()
        writer.exec_driver_sql("INSERT INTO t VALUES ('b', 2)")
        state = source.state()
        assert not store.refresh()  # not committed
        writer.commit()
        assert source.state() != state
        report = store.refresh()
        assert (report.added, report.removed) == (1, 0)


def test_the_state_of_sqlite_follows_commits(engine: sa.Engine) -> None:
    source = SqlSource(engine, "companies", entity="name")
    for mode in ("DELETE", "WAL"):
        with engine.connect() as other:
            other.exec_driver_sql(f"PRAGMA journal_mode = {mode}")
            with as_store(source) as store:
                assert source.state() is not None
                assert source.state() == source.state()
                assert not store.refresh()
                run(engine, f"UPDATE companies SET name = '{mode}' WHERE id = 1")
                assert store.refresh()
                assert [fact.entity for fact in store] == [mode]


def test_a_change_of_equal_size_and_time_is_seen_in_sqlite(engine: sa.Engine, file: Path) -> None:
    before = file.stat()
    with as_store(SqlSource(engine, "companies", entity="name")) as store:
        run(engine, "UPDATE companies SET founded = 1969 WHERE id = 1")
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert store.refresh() == SyncReport(added=1, removed=1)


def test_the_columns_may_change(engine: sa.Engine) -> None:
    with as_store(SqlSource(engine, "companies", entity="name")) as store:
        run(
            engine,
            "ALTER TABLE companies ADD COLUMN motto TEXT",
            "UPDATE companies SET motto = 'Dare' WHERE id = 1",
        )
        assert store.refresh() == SyncReport(added=1)


def test_reading_leaves_no_transaction_behind(engine: sa.Engine, url: str) -> None:
    pooled = sa.create_engine(url)
    reading = SqlSource(pooled, "people", entity="full_name").triples()
    next(reading)
    reading.close()
    run(engine, "DELETE FROM people")  # not locked
    assert facts(SqlSource(pooled, "people", entity="full_name")) == set()
    pooled.dispose()


def test_what_is_not_there_is_named(engine: sa.Engine, tmp_path: Path) -> None:
    cases = {
        "There is no table 'peple' in the database. There are: 'companies'": ("peple", {}),
        "There is no column 'nme' in table 'companies'": ("companies", {"entity": "nme"}),
        "There is no column 'x' in table 'comp": ("companies", {"columns": ["x"]}),
        "There is no column 'y' in table 'comp": ("companies", {"metadata": ["y"]}),
        "There is no column 'u' in table 'comp": ("companies", {"units": {"u": "cm"}}),
        "'founded' of table 'companies' is no foreign": (
            "companies",
            {"references": {"founded": "a"}},
        ),
        "no column 'z' in what 'boss_id' of table": ("people", {"references": {"boss_id": "z"}}),
    }
    for message, (table, options) in cases.items():
        entity = "name" if table == "companies" else "full_name"
        source = SqlSource(engine, table, **{"entity": entity, **options})
        with pytest.raises(SourceError) as info:
            facts(source)
        assert message in str(info.value)
    missing = tmp_path / "none.sqlite3"
    with pytest.raises(SourceError, match=r"There is no database .*none\.sqlite3"):
        facts(SqlSource(f"sqlite:///{missing}", "t", entity="name"))
    assert not missing.exists()


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "notes.sqlite3"
    path.write_text("this is no database, but long enough to be looked at" * 100)
    with pytest.raises(SourceError, match="file is not a database"):
        facts(SqlSource(f"sqlite:///{path}", "t", entity="name"))


def test_values_that_are_no_text(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript("""
            CREATE TABLE nul (name TEXT, motto TEXT);
            INSERT INTO nul VALUES ('a', 'b' || char(0) || 'c');
            CREATE TABLE bytes (name TEXT, motto TEXT);
            INSERT INTO bytes VALUES ('a', CAST(x'ff41' AS TEXT));
            CREATE TABLE wrong (name TEXT, flag BOOLEAN, moment DATETIME, doc JSON);
            INSERT INTO wrong VALUES ('a', 'perhaps', 'soon', '{broken');
        """)
    url = f"sqlite:///{file}"
    with pytest.raises(FactError, match="table 'nul', row 1: The value of a fact holds a char"):
        facts(SqlSource(url, "nul", entity="name"))
    with pytest.raises(SourceError, match="Could not decode to UTF-8"):
        facts(SqlSource(url, "bytes", entity="name"))
    with pytest.raises(SourceError, match="A value in the database"):
        facts(SqlSource(url, "wrong", entity="name", columns=["doc"]))
    assert facts(SqlSource(url, "wrong", entity="name", columns=["moment"])) == {
        ("a", "moment", "soon")
    }


def test_fewer_rows_than_counted(engine: sa.Engine) -> None:
    @sa.event.listens_for(engine, "before_cursor_execute", retval=True)
    def cut(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> tuple[str, Any]:
        # As middleware between here and a database does.
        return (f"{statement} LIMIT 2" if "c0" in statement else statement), parameters

    with pytest.raises(IncompleteSourceError, match=r"Expected 3 rows of table 'people'.* got 2"):
        facts(SqlSource(engine, "people", entity="full_name"))


@pytest.mark.parametrize(
    "options",
    [
        {"property": "p"},
        {"value": "v"},
        {"property": "p", "value": "v", "columns": ["c"]},
        {"property": "p", "value": "v", "units": {"v": "cm"}},
        {"units": "cm"},
        {"id": "id"},
        {"columns": "name"},
        {"metadata": "name"},
        {"timeout": 0},
    ],
)
def test_options_that_contradict_each_other(url: str, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        SqlSource(url, "people", entity="full_name", **options)


def test_what_is_no_database_is_refused_without_its_secrets(url: str) -> None:
    secret = "pa55word"
    cases: list[tuple[Any, type[Exception]]] = [
        (f"nodb://bob:{secret}@host/db", ConfigError),
        (f"bob:{secret}@host", ConfigError),
        (f"postgresql://bob:{secret}@host:port/db", ConfigError),
        (f"mysql+nodriver://bob:{secret}@host/db", ConfigError),
        (7, ConfigError),
    ]
    for database, kind in cases:
        with pytest.raises(kind) as info:
            SqlSource(database, "t", entity="name")
        assert secret not in "".join(traceback.format_exception(info.value, chain=True))
    with pytest.raises(ConfigError, match="Table, mapped class or SELECT"):
        SqlSource(url, sa.text("SELECT 1"), entity="name")


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "psycopg", None)
    with pytest.raises(MissingExtraError, match="'psycopg' is not installed"):
        SqlSource("postgresql+psycopg://host/db", "t", entity="name")


def test_as_store_asks_for_the_table(engine: sa.Engine) -> None:
    table = sa.Table("t", sa.MetaData(), sa.Column("name"))
    for kb in (engine, table, sa.select(table)):
        with pytest.raises(UnsupportedSourceError, match="SqlSource"):
            as_store(kb)
    with pytest.raises(UnsupportedSourceError, match=r"SqlSource\(url") as info:
        as_store("postgresql://bob:pa55word@host/db")
    assert "pa55word" not in str(info.value)


@pytest.mark.integration
def test_a_server_that_is_not_there(postgres: PostgresServer) -> None:
    url = postgres.url.set(host="127.0.0.1", port=9).set(query={})
    source = SqlSource(url, "t", entity="name", timeout=2)
    with pytest.raises(SourceError, match=r"psycopg://127\.0\.0\.1:9/postgres could not") as info:
        facts(source)
    assert postgres.password not in "".join(traceback.format_exception(info.value))


@pytest.mark.integration
def test_a_server_that_goes_away_while_it_is_read(
    postgres: PostgresServer, server: sa.Engine
) -> None:
    run(
        server,
        "CREATE TABLE t (name text, size int)",
        "INSERT INTO t SELECT 'thing ' || i, i FROM generate_series(1, 15000) i",
    )
    reading = SqlSource(server, "t", entity="name").triples()
    next(reading)
    postgres.stop()
    with pytest.raises(SourceError, match="could not be read"):
        list(reading)


@pytest.mark.integration
def test_a_locked_table_is_not_waited_for_for_ever(server: sa.Engine) -> None:
    run(server, "CREATE TABLE t (name text, size int)")
    with server.connect() as other:
        other.exec_driver_sql("LOCK TABLE t")
        source = SqlSource(server, "t", entity="name", timeout=0.3)
        with pytest.raises(SourceError, match="statement timeout"):
            facts(source)


@pytest.mark.integration
def test_a_table_that_may_not_be_read(server: sa.Engine) -> None:
    run(
        server,
        "CREATE TABLE t (name text, size int)",
        "DROP ROLE IF EXISTS guest",
        "CREATE ROLE guest LOGIN",
        "GRANT USAGE ON SCHEMA " + str(server.url.query["options"]).split("=")[1] + " TO guest",
    )
    guest = SqlSource(server.url.set(username="guest"), "t", entity="name")
    with pytest.raises(SourceError, match="permission denied for table t"):
        facts(guest)
