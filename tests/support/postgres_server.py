"""A PostgreSQL server in a folder of its own, reached by a socket in that folder."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import warnings
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from sqlalchemy import URL, Connection, create_engine, make_url, text
from sqlalchemy.pool import NullPool
from sqlalchemy.schema import CreateSchema


class PostgresServer:
    """Started when it is made; :meth:`stop` and :meth:`start` as often as a test likes.

    Attributes:
        password: In every URL; the server lets everyone in without asking for it.
    """

    def __init__(self) -> None:
        # Short: the path of a socket has at most about a hundred characters.
        self._folder = Path(tempfile.mkdtemp(prefix="kblam-pg-"))
        self.password = secrets.token_urlsafe(12)
        self._schemas = 0
        self._server = None
        self.start()
        with self.connect() as connection:
            # What is lost with the machine is lost with the test.
            connection.execute(text("ALTER SYSTEM SET fsync = off"))
            connection.execute(text("SELECT pg_reload_conf()"))

    def start(self) -> None:
        """Start the server unless it runs."""
        with warnings.catch_warnings():
            # Where there is no folder for the lock of a login session, /tmp will do.
            warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
            import pgserver

        if self._server is None:
            self._server = pgserver.get_server(self._folder / "data")

    def stop(self) -> None:
        """Stop the server; what was committed stays."""
        if self._server is not None:
            self._server.cleanup()
            self._server = None

    def remove(self) -> None:
        """Stop the server and delete everything."""
        self.stop()
        shutil.rmtree(self._folder)

    @property
    def url(self) -> URL:
        """The URL of the database that is there from the beginning."""
        assert self._server is not None
        url = make_url(self._server.get_uri())
        return url.set(drivername="postgresql+psycopg", password=self.password)

    def fresh(self) -> URL:
        """Return the URL of an empty schema, where tables are made and found first."""
        self._schemas += 1
        name = f"test{self._schemas}"
        with self.connect() as connection:
            connection.execute(CreateSchema(name))
        return self.url.update_query_dict({"options": f"-csearch_path={name}"})

    def connect(self) -> AbstractContextManager[Connection]:
        """Return a connection of the owner, where every statement is committed at once."""
        engine = create_engine(self.url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        return engine.connect()


def start_postgres() -> PostgresServer:
    """Start a server; skip the test if it is not installed, unless in CI."""
    if "CI" not in os.environ:
        pytest.importorskip("pgserver")
        pytest.importorskip("psycopg")
    return PostgresServer()
