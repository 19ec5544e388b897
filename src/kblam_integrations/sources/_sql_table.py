"""What to select of a table: its columns, the names behind its foreign keys."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Date,
    DateTime,
    Float,
    FromClause,
    Integer,
    Interval,
    LargeBinary,
    MetaData,
    Numeric,
    Select,
    SelectBase,
    String,
    Table,
    Time,
    Uuid,
    case,
    cast,
    func,
    inspect,
    literal,
    select,
    type_coerce,
)
from sqlalchemy.dialects.postgresql import INTERVAL
from sqlalchemy.exc import NoReferencedColumnError, NoReferencedTableError, SAWarning
from sqlalchemy.types import NullType, TypeDecorator

from kblam.errors import ConfigError, SourceError

__all__ = ["Choice", "Columns", "as_selectable", "load_table"]

# What a referenced row is called by, if it has a column of this name.
_NAMES = ("name", "label", "title", "full_name", "display_name")
_MANY = 20


class Choice(NamedTuple):
    """Where a part of a fact is in a row.

    Attributes:
        column: The column's name.
        place: Its place in the row.
        instead: The place of the identifier, where there is no name at ``place``.
    """

    column: str
    place: int
    instead: int | None = None


def as_selectable(table: Any) -> str | FromClause:
    """Return a table's name as it is, and what SQLAlchemy can select from as a table.

    Raises:
        ConfigError: It is none of these.
    """
    if isinstance(table, str):
        return table
    if isinstance(table, SelectBase):
        return table.subquery()
    table = getattr(table, "__table__", table)  # a mapped class
    if isinstance(table, FromClause):
        return table
    raise ConfigError(
        "Expected a table's name, a SQLAlchemy Table, mapped class or SELECT, got "
        f"{type(table).__name__}. Write SQL as text('SELECT ...').columns(column('name'), ...)."
    )


def load_table(connection: Connection, name: str, schema: str | None) -> Table:
    """Look a table up in the database, and the tables that it refers to.

    Raises:
        SourceError: There is no such table.
    """
    inspector = inspect(connection)
    there = [*inspector.get_table_names(schema), *inspector.get_view_names(schema)]
    if not inspector.has_table(name, schema):
        place = f"the schema {schema!r} of the database" if schema else "the database"
        shown = ", ".join(map(repr, sorted(there)[:_MANY])) or "none"
        raise SourceError(f"There is no table {name!r} in {place}. There are: {shown}.")
    metadata = MetaData()
    with warnings.catch_warnings():
        # Types that SQLAlchemy does not know are read as the driver gives them.
        warnings.simplefilter("ignore", SAWarning)
        table = Table(name, metadata, schema=schema, autoload_with=connection, resolve_fks=False)
        for key in inspector.get_foreign_keys(name, schema):
            where = key["referred_schema"]
            if inspector.has_table(key["referred_table"], where):
                Table(
                    key["referred_table"],
                    metadata,
                    schema=where,
                    autoload_with=connection,
                    resolve_fks=False,
                )
    return table


class Columns:
    """The columns of one SELECT: taken one by one, foreign keys by the name they stand for.

    Args:
        table: What is selected from.
        references: By foreign key, the column with the name of the row that it refers to; None
            leaves the key as it is. For keys that are not here, a column called ``name`` or
            the like.
        dialect: The database's kind.
        shown: What the table is called in errors.
    """

    def __init__(
        self,
        table: FromClause,
        references: Mapping[str, str | None],
        dialect: str,
        shown: str,
    ) -> None:
        self.table = table
        self._references = references
        self._dialect = dialect
        self._shown = shown
        self._selected: list[ColumnElement[Any]] = []
        self._from = table
        for name in references:
            if self._referred(self.column(name)) is None:
                raise SourceError(
                    f"The column {name!r} of {shown} is no foreign key of one column to a table "
                    "that is there. Select from a join instead, and name its columns."
                )

    def column(self, name: str) -> ColumnElement[Any]:
        """Return a column of the table.

        Raises:
            SourceError: It has none of this name.
        """
        try:
            return self.table.c[name]
        except KeyError:
            there = ", ".join(map(repr, self.table.c.keys())) or "none"
            raise SourceError(
                f"There is no column {name!r} in {self._shown}. There are: {there}."
            ) from None

    def take(self, name: str) -> Choice:
        """Select a column, and the name behind it if it is a foreign key.

        Raises:
            SourceError: There is no such column, here or in the table referred to.
        """
        column = self.column(name)
        target = self._referred(column)
        title = None if target is None else self._title(name, target.table)
        if target is None or title is None:
            return Choice(name, self._select(column))
        other = target.table.alias()
        self._from = self._from.outerjoin(other, column == other.c[target.name])
        return Choice(name, self._select(other.c[title]), self._select(column))

    def is_reference(self, name: str) -> bool:
        """Tell whether a column is a foreign key that is read as a name."""
        target = self._referred(self.column(name))
        return target is not None and self._title(name, target.table) is not None

    def properties(self) -> list[str]:
        """Return the columns that say something: no artificial keys, nothing binary."""
        keys = list(self.table.primary_key)
        artificial = (
            {keys[0].name}
            if len(keys) == 1 and isinstance(keys[0].type, (Integer, Uuid))
            else set()
        )
        return [
            name
            for name, column in self.table.c.items()
            if not isinstance(column.type, LargeBinary)
            and (name not in artificial or self.is_reference(name))
        ]

    def statement(self) -> Select[Any]:
        """Return the SELECT of what was taken, in the order of the table's key."""
        found = select(*self._selected).select_from(self._from)
        return found.order_by(*self.table.primary_key)

    def rows(self) -> Select[Any]:
        """Return the SELECT that counts the rows."""
        return select(func.count()).select_from(self.table)

    def count_values(self, names: Sequence[str], required: Sequence[Choice]) -> Select[Any]:
        """Return the SELECT that counts the values of columns that are not NULL.

        Args:
            names: The columns.
            required: Rows where one of these is NULL do not count.
        """
        total: ColumnElement[Any] = literal(0)
        for name in names:
            total = total + func.count(self.column(name))
        conditions = [self.column(choice.column).is_not(None) for choice in required]
        return select(total).select_from(self.table).where(*conditions)

    def _select(self, column: ColumnElement[Any]) -> int:
        readable = _readable(column, self._dialect)
        self._selected.append(readable.label(f"c{len(self._selected)}"))
        return len(self._selected) - 1

    def _referred(self, column: ColumnElement[Any]) -> Column[Any] | None:
        """Return what a foreign key of one column refers to, None for what is none."""
        for key in column.foreign_keys:
            if key.constraint is not None and len(key.constraint.elements) > 1:
                continue
            try:
                return key.column
            except (NoReferencedTableError, NoReferencedColumnError):
                continue
        return None

    def _title(self, name: str, referred: FromClause) -> str | None:
        """Return the column that names the rows a foreign key refers to, None for none."""
        if name in self._references:
            title = self._references[name]
            if title is not None and title not in referred.c:
                there = ", ".join(map(repr, referred.c.keys()))
                raise SourceError(
                    f"There is no column {title!r} in what {name!r} of {self._shown} refers to. "
                    f"There are: {there}."
                )
            return title
        columns = {key.lower(): key for key in referred.c.keys()}  # noqa: SIM118
        return next((columns[title] for title in _NAMES if title in columns), None)


class _SqliteBoolean(TypeDecorator[Any]):
    """A truth value where there is one; to SQLAlchemy the text "false" is true."""

    impl = NullType
    cache_ok = True

    def process_result_value(self, value: Any, dialect: Any) -> Any:
        return {0: False, 1: True}.get(value, value)


def _readable(column: ColumnElement[Any], dialect: str) -> ColumnElement[Any]:
    """Return a column as what loses and breaks nothing on its way to text."""
    kind = column.type
    if dialect == "sqlite" and isinstance(kind, Boolean):
        return type_coerce(column, _SqliteBoolean())
    if dialect == "sqlite" and isinstance(kind, (Numeric, Date, DateTime, Time)):
        # As it is stored: SQLite keeps whatever was put in, "about 1900" in a date too.
        stored: ColumnElement[Any] = column
        if isinstance(kind, Numeric) and kind.asdecimal and kind.scale is not None:
            # Only zeros at the end it does not keep. Whole numbers have more digits than printf.
            zeros = "." + "0" * kind.scale if kind.scale > 0 else ""
            padded = func.printf(f"%.{kind.scale}f", column)
            same = cast(padded, Float()) == column  # it may have more digits than were declared
            stored = case(
                (func.typeof(column) == "integer", cast(column, String()).concat(zeros)),
                ((func.typeof(column) == "real") & same, padded),
                else_=column,
            )
        return type_coerce(stored, NullType())
    if dialect == "postgresql" and isinstance(kind, (Date, DateTime, Interval, INTERVAL)):
        # Python has no date before the year 1, no infinity and no months in a length of time.
        return cast(column, String())
    return column
