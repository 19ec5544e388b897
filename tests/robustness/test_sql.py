"""Databases of others that are damaged."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path

from malformed import PLANNED, attempt, damaged, judge, many

from kblam.errors import KBLaMError
from kblam.knowledge import KnowledgeStore, ListSource
from kblam_integrations.sources import SqlSource


def test_sqlite(tmp_path: Path) -> None:
    path = tmp_path / "people.sqlite3"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "CREATE TABLE teams (id INTEGER PRIMARY KEY, name TEXT);"
            "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT, born DATE, pay DECIMAL(8, 2),"
            " flag BOOLEAN, doc JSON, team_id INTEGER REFERENCES teams (id));"
        )
        connection.executemany("INSERT INTO teams VALUES (?, ?)", [(1, "red"), (2, "blue")])
        connection.executemany(
            "INSERT INTO people VALUES (?, ?, ?, ?, ?, ?, ?)",
            [(i, f"Zoë {i}", "1968-05-03", 6.8, i % 2, '["a", 1]', i % 3) for i in range(400)],
        )
        connection.commit()
    good = path.read_bytes()
    source = SqlSource(f"sqlite:///{path}", "people", entity="name")

    def make(chance: random.Random) -> bytes:
        if chance.random() < 0.5:
            return damaged(good, chance)
        place = 4096 * chance.randrange(len(good) // 4096) + chance.randrange(100)
        return good[:place] + chance.randbytes(4) + good[place + 4 :]

    with KnowledgeStore() as store:
        store.sync(source)
        whole = list(store)

        def check(given: bytes) -> None:
            path.write_bytes(given)
            for left in (path.with_name(f"{path.name}{end}") for end in ("-wal", "-journal")):
                left.unlink(missing_ok=True)
            before = list(store)
            outcome = attempt(lambda: store.sync(ListSource(source.triples())))
            if isinstance(outcome, KBLaMError):
                assert list(store) == before
            path.write_bytes(good)
            store.sync(SqlSource(f"sqlite:///{path}", "people", entity="name"))
            assert set(store) == set(whole)

        judge("SQL", many(PLANNED["SQL"], make), check)
