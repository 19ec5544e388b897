"""Tables of SQL databases, by SQLAlchemy."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    FromClause,
    SelectBase,
    String,
    cast,
    func,
    inspect,
    select,
)

from kblam.errors import (
    ConfigError,
    FactError,
    IncompleteSourceError,
    UnsupportedSourceError,
)
from kblam.knowledge import Triple
from kblam.knowledge._files import written
from kblam_integrations.sources._sql_connection import (
    address,
    database_file,
    open_engine,
    snapshot,
)
from kblam_integrations.sources._sql_rows import LongRows, Rows, WideRows
from kblam_integrations.sources._sql_table import Columns, as_selectable, load_table

__all__ = ["SqlSource", "source_of"]

_ROWS_AT_ONCE = 2000


class SqlSource:
    """The facts of one table, view or SELECT of a SQL database.

    A *long* table has a fact in each row: name the columns of entity, property and value. A
    *wide* table has an entity in each row: name its column; the others are its properties,
    their names in words (``launch_code``)::

        SqlSource("sqlite:///facts.db", "facts", entity="entity", property="property",
                  value="value")
        SqlSource(engine, "people", entity="name")

    A foreign key is read as the name of the row that it refers to, where that table has a
    column ``name``, ``label``, ``title``, ``full_name`` or ``display_name``, or the one that
    ``references`` says; the property ``employer_id`` is then called ``employer``. NULL, blank
    text and binary values are no facts. Decimals keep all their digits, dates are as ISO 8601
    writes them. Lists (arrays, JSON) have one fact per item.

    A reading sees one state of the database (a transaction with a snapshot), compares the
    rows with their count, and fetches them bit by bit, as far as the driver can. To ask
    whether anything changed costs one query on PostgreSQL and a look at the file on SQLite,
    for tables; views, SELECTs and other databases are read again.

    Args:
        database: A SQLAlchemy engine, or a URL, for which connections are opened as needed
            and kept for a reading only.
        table: The table's name, a SQLAlchemy ``Table``, mapped class or SELECT.
        entity: The column with what the facts are about.
        property: The column with the property's name; None for a wide table.
        value: The column with the value; None for a wide table.
        columns: Of a wide table, the columns that are properties, or their properties' names
            by column. None takes all but the entity, the metadata, and an artificial primary
            key.
        references: By foreign key, the column that names the row it refers to; None leaves
            the key as it is.
        units: Of a long table, the column with the value's unit; of a wide one, the unit by
            column: ``{"height": "cm"}`` gives "175 cm".
        metadata: Columns for the facts' metadata, which views filter by.
        id: Of a long table, the column with the fact's identifier.
        schema: The table's schema, where it is given by name.
        timeout: Seconds to wait for a connection (to a URL) and for a statement (of
            PostgreSQL).

    Raises:
        ConfigError: The arguments contradict each other, or name no database.
        MissingExtraError: The database's driver is not installed.
    """

    def __init__(
        self,
        database: Engine | URL | str,
        table: str | FromClause | SelectBase | type[Any],
        *,
        entity: str,
        property: str | None = None,
        value: str | None = None,
        columns: Sequence[str] | Mapping[str, str] | None = None,
        references: Mapping[str, str | None] | None = None,
        units: str | Mapping[str, str] | None = None,
        metadata: Sequence[str] = (),
        id: str | None = None,
        schema: str | None = None,
        timeout: float = 60.0,
    ) -> None:
        _check(property, value, columns, units, id)
        if isinstance(columns, str) or isinstance(metadata, str):
            raise ConfigError("columns and metadata are lists of names, got a single text.")
        if not timeout > 0:
            raise ConfigError(f"The timeout must be more than 0 seconds, got {timeout}.")
        self._engine = open_engine(database, timeout)
        self._table = as_selectable(table)
        self._schema = schema
        self._timeout = timeout
        self._references = dict(references or {})
        self._metadata = tuple(metadata)
        self._columns, self._units, self._id = columns, units, id
        self._entity, self._property, self._value = entity, property, value

    def triples(self) -> Iterator[Triple]:
        """Read every fact, as of one moment.

        Raises:
            FactError: A row holds what is no text.
            IncompleteSourceError: There were fewer rows than the database counts.
            SourceError: The database, the table or a column is not there, or cannot be read.
        """
        with snapshot(self._engine, self._timeout) as connection:
            rows = self._rows(connection)
            expected: int = connection.execute(rows.columns.rows()).scalar_one()
            read = 0
            # From a cursor of the server's, as far as the driver has them.
            statement = rows.columns.statement().execution_options(yield_per=_ROWS_AT_ONCE)
            with connection.execute(statement) as result:
                for row in result:
                    read += 1
                    try:
                        yield from rows.facts(row)
                    except FactError as error:
                        raise FactError(f"{self._shown}, row {read}: {error}") from error
            if read < expected:
                raise IncompleteSourceError(
                    f"Expected {expected:,} rows of {self._shown}, as the database counts them, "
                    f"got {read:,}. See whether something between here and the database cuts "
                    "results short."
                )

    def count(self) -> int:
        """Return how many values there are that are not NULL.

        Raises:
            SourceError: As for :meth:`triples`.
        """
        with snapshot(self._engine, self._timeout) as connection:
            number: int = connection.execute(self._rows(connection).number()).scalar_one()
        return number

    def state(self) -> Hashable:
        """Return what differs after a change of the database, None where that is not known.

        Raises:
            SourceError: The database cannot be reached.
        """
        file = database_file(self._engine)
        if not isinstance(self._table, str) or (file is not None and self._schema):
            return None
        with snapshot(self._engine, self._timeout) as connection:
            if self._table not in inspect(connection).get_table_names(self._schema):
                return None  # a view may look elsewhere, or at the clock
            if connection.dialect.name == "postgresql":
                # Which transactions are seen: the same ones make the same content.
                seen = cast(func.txid_current_snapshot(), String())
                started = func.pg_postmaster_start_time()
                return tuple(connection.execute(select(seen, started)).one())
        if file is None:
            return None
        # A commit writes the file or its journal.
        return (_written(file), _written(file.with_name(f"{file.name}-wal")))

    def __repr__(self) -> str:
        return f"SqlSource({address(self._engine)!r}, {self._shown})"

    @property
    def _shown(self) -> str:
        if not isinstance(self._table, str):
            return f"table {getattr(self._table, 'name', None) or '(a SELECT)'!r}"
        return f"table {'.'.join(filter(None, (self._schema, self._table)))!r}"

    def _rows(self, connection: Connection) -> Rows:
        """Lay out the SELECT; the table may have other columns than last time."""
        table = self._table
        if isinstance(table, str):
            table = load_table(connection, table, self._schema)
        columns = Columns(table, self._references, connection.dialect.name, self._shown)
        if self._property is not None and self._value is not None:
            return LongRows(
                columns,
                (self._entity, self._property, self._value),
                unit=self._units if isinstance(self._units, str) else None,
                metadata=self._metadata,
                id=self._id,
            )
        return WideRows(
            columns,
            self._entity,
            self._columns,
            units=self._units if isinstance(self._units, Mapping) else {},
            metadata=self._metadata,
        )


def _written(file: Path) -> Hashable:
    """Return what changes when a file is written, None where there is none."""
    try:
        return written(file)
    except FileNotFoundError:
        return None


def _check(
    property: str | None,
    value: str | None,
    columns: Sequence[str] | Mapping[str, str] | None,
    units: str | Mapping[str, str] | None,
    id: str | None,
) -> None:
    """Raise ConfigError unless the table is meant to be long or wide."""
    if (property is None) != (value is None):
        raise ConfigError(
            "A long table needs property= and value=, the names of two columns; got one of them. "
            "Without both, each row is an entity and its columns are the properties."
        )
    long = property is not None
    wrong = {
        "columns=": long and columns is not None,
        "id=": not long and id is not None,
        "units= as a column": not long and isinstance(units, str),
        "units= by column": long and isinstance(units, Mapping),
    }
    if found := [name for name, contradicts in wrong.items() if contradicts]:
        raise ConfigError(
            f"A {'long' if long else 'wide'} table has no {' and '.join(found)}. A long table "
            "has property= and value=, units= names a column and id= may; a wide one has "
            "columns= and units={column: unit}."
        )


def source_of(kb: Any) -> None:
    """Return None: what SQLAlchemy makes is no source before a table is named.

    Raises:
        UnsupportedSourceError: It is an engine, a connection, a table or a SELECT.
    """
    if isinstance(kb, (Engine, Connection, FromClause, SelectBase)):
        raise UnsupportedSourceError(
            f"A {type(kb).__name__} of SQLAlchemy does not say which of its columns are what. "
            "Name them: SqlSource(engine, 'people', entity='name'), or with entity=, property= "
            "and value= for a table of facts."
        )
