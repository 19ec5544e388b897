"""Connections to SQL databases: one snapshot for a reading, and errors without secrets."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, func, make_url, select
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from kblam.errors import ConfigError, KBLaMError, MissingExtraError, SourceError

__all__ = ["address", "database_file", "open_engine", "reading", "snapshot"]

# What shows a transaction one state from its first statement on. SQLite's transactions do;
# for databases not named here, their default has to do.
_ISOLATION = {
    "postgresql": "REPEATABLE READ",
    "mysql": "REPEATABLE READ",
    "mariadb": "REPEATABLE READ",
    "oracle": "SERIALIZABLE",
    "mssql": "SERIALIZABLE",
}
# Drivers that take this argument, in whole seconds.
_CONNECT_TIMEOUT = {"psycopg", "psycopg2", "pymysql", "mysqldb", "mariadbconnector"}
_SHOWN = 300


def open_engine(database: object, timeout: float) -> Engine:
    """Return an engine, which keeps no connection open if it is made here.

    Args:
        database: An engine, which is returned as it is, or a database's address.
        timeout: Seconds to wait for a connection, where the engine is made here.

    Raises:
        ConfigError: It is no address of a database, or an engine for asyncio.
        MissingExtraError: The database's driver is not installed.
    """
    if isinstance(database, Engine):
        return database
    if not isinstance(database, (str, URL)):
        hint = "its sync_engine's URL" if hasattr(database, "sync_engine") else "one of these"
        raise ConfigError(
            "A SQL source reads a SQLAlchemy Engine, its URL or the URL's text, got "
            f"{type(database).__name__}. Pass {hint}."
        )
    try:
        url = make_url(database)
        dialect = url.get_dialect()
        arguments: dict[str, Any] = {}
        if dialect.driver in _CONNECT_TIMEOUT:
            arguments["connect_timeout"] = math.ceil(timeout)
        return create_engine(url, poolclass=NullPool, connect_args=arguments, hide_parameters=True)
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"The database's driver {error.name!r} is not installed. Install it, or name another "
            "one in the URL, as in postgresql+psycopg://."
        ) from error
    except NoSuchModuleError:
        raise ConfigError(
            f"SQLAlchemy knows no database called {url.drivername!r}. Expected a URL such as "
            "sqlite:///facts.db or postgresql+psycopg://host/database."
        ) from None
    except (ArgumentError, ValueError):
        # Their messages show the text, which may hold a password.
        raise ConfigError(
            "Expected a database's URL such as sqlite:///facts.db or "
            "postgresql+psycopg://user:password@host/database, got a text that is none. "
            "Percent-encode what is special in its parts."
        ) from None


def address(engine: Engine) -> str:
    """Return where a database is, without users, passwords and options."""
    url = engine.url
    bare = URL.create(url.drivername, host=url.host, port=url.port, database=url.database)
    return bare.render_as_string()


def database_file(engine: Engine) -> Path | None:
    """Return the file of an SQLite database, None for what is in memory or no SQLite."""
    name = engine.url.database
    if engine.dialect.name != "sqlite" or not name or name.startswith((":memory:", "file:")):
        return None
    return Path(name)


@contextmanager
def snapshot(engine: Engine, timeout: float) -> Iterator[Connection]:
    """Open a transaction that only reads, and that sees one state of the database.

    Args:
        engine: Makes the connection.
        timeout: Seconds that a statement may take, where the database can be told.

    Raises:
        SourceError: The database cannot be reached or read.
    """
    with reading(engine):
        file = database_file(engine)
        if file is not None and not file.is_file():
            # To connect would make an empty one.
            raise SourceError(f"There is no database {file} to read facts from.")
        with engine.connect() as connection:
            options: dict[str, Any] = {}
            if level := _ISOLATION.get(engine.dialect.name):
                options["isolation_level"] = level
            if engine.dialect.name == "postgresql":
                options["postgresql_readonly"] = True
            connection.execution_options(**options)
            transaction = connection.begin()
            try:
                _prepare(connection, timeout)
                yield connection
            finally:
                transaction.rollback()


def _prepare(connection: Connection, timeout: float) -> None:
    name = connection.dialect.name
    if name == "sqlite":
        # Its driver begins no transaction for statements that read.
        if not getattr(connection.connection.driver_connection, "in_transaction", False):
            connection.exec_driver_sql("BEGIN")
    elif name == "postgresql":
        settings = {
            "statement_timeout": str(math.ceil(timeout * 1000)),
            # Dates are read as text, which is the same for everyone.
            "datestyle": "ISO, YMD",
            "timezone": "UTC",
        }
        connection.execute(
            select(*(func.set_config(key, value, True) for key, value in settings.items()))
        ).one()


@contextmanager
def reading(engine: Engine) -> Iterator[None]:
    """Raise what SQLAlchemy and drivers raise as an error of this library.

    Raises:
        SourceError: The database cannot be reached or read.
    """
    try:
        yield
    except KBLaMError:
        raise
    except DBAPIError as error:
        # Of the driver's message, not SQLAlchemy's: that one shows parameters too.
        raise _failed(engine, error.orig or error) from error.orig
    except (SQLAlchemyError, OSError) as error:
        raise _failed(engine, error) from None
    except (ValueError, LookupError, ArithmeticError, TypeError) as error:
        raise SourceError(
            f"A value in the database {address(engine)} cannot be read as its column's type "
            f"says: {error!s:.{_SHOWN}}. Correct it, or read the column cast to text."
        ) from error


def _failed(engine: Engine, error: BaseException) -> SourceError:
    said = " ".join(str(error).split()).rstrip(".?")
    return SourceError(
        f"The database {address(engine)} could not be read: {said:.{_SHOWN}}. See that it is "
        "there, and that this user may read the table."
    )
