"""Servers that several test files read from."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from postgres_server import PostgresServer, start_postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One for all tests of a worker: :meth:`PostgresServer.start` it, as it may be stopped."""
    server = start_postgres()
    yield server
    server.remove()
