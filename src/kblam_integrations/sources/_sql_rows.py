"""What the rows of a table say."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any

from sqlalchemy import Select

from kblam.knowledge import Triple
from kblam_integrations.sources._sql_table import Choice, Columns
from kblam_integrations.sources._values import text_of, value_facts

__all__ = ["LongRows", "Rows", "WideRows"]

# What the names of foreign keys end in.
_KEY = re.compile(r"(?<=[^_])(_id|_fk|Id|ID)$")


class Rows:
    """The rows of a SELECT.

    Args:
        columns: Takes the columns that are needed.
        metadata: Those for the metadata.
    """

    def __init__(self, columns: Columns, metadata: Sequence[str]) -> None:
        self.columns = columns
        self._metadata = [columns.take(name) for name in metadata]

    def facts(self, row: Sequence[Any]) -> Iterator[Triple]:
        """Yield the facts of one row."""
        raise NotImplementedError

    def number(self) -> Select[Any]:
        """Return the SELECT that counts about how many facts there are."""
        raise NotImplementedError

    def _origin(self, row: Sequence[Any]) -> dict[str, Any]:
        found = {choice.column: _as_json(_value(row, choice)) for choice in self._metadata}
        return {key: value for key, value in found.items() if value is not None}


class LongRows(Rows):
    """One fact in each row.

    Args:
        columns: As for :class:`Rows`.
        parts: The columns of entity, property and value.
        unit: The column with the value's unit.
        metadata: As for :class:`Rows`.
        id: The column with the fact's identifier.
    """

    def __init__(
        self,
        columns: Columns,
        parts: tuple[str, str, str],
        *,
        unit: str | None,
        metadata: Sequence[str],
        id: str | None,
    ) -> None:
        super().__init__(columns, metadata)
        self._parts = [columns.take(name) for name in parts]
        self._unit = None if unit is None else columns.take(unit)
        self._id = None if id is None else columns.take(id)

    def facts(self, row: Sequence[Any]) -> Iterator[Triple]:
        """Yield the row's fact, or several where the value is a list."""
        entity, name, value = (_value(row, choice) for choice in self._parts)
        if self._unit is not None:
            value = _with_unit(value, text_of(_value(row, self._unit)))
        subject, key, origin = text_of(entity), text_of(name), self._origin(row)
        identifier = "" if self._id is None else text_of(_value(row, self._id))
        if not identifier:
            yield from value_facts(subject, key, value, origin)
            return
        if isinstance(value, (list, dict)):  # one name, one fact
            value = json.dumps(value, ensure_ascii=False, default=text_of)
        text = text_of(value)
        if subject and key and text:
            yield Triple(subject, key, text, id=identifier, metadata=origin)

    def number(self) -> Select[Any]:
        """Return the SELECT that counts the rows in which no part is NULL."""
        return self.columns.count_values([self._parts[2].column], self._parts[:2])


class WideRows(Rows):
    """One entity in each row.

    Args:
        columns: As for :class:`Rows`.
        entity: The column with the entity's name.
        properties: The columns that are properties, or their properties' names by column;
            None for all.
        units: The unit by column.
        metadata: As for :class:`Rows`.
    """

    def __init__(
        self,
        columns: Columns,
        entity: str,
        properties: Sequence[str] | Mapping[str, str] | None,
        *,
        units: Mapping[str, str],
        metadata: Sequence[str],
    ) -> None:
        super().__init__(columns, metadata)
        self._entity = columns.take(entity)
        if properties is None:
            apart = {entity, *metadata}
            properties = [name for name in columns.properties() if name not in apart]
        names = properties if isinstance(properties, Mapping) else {}
        self._units = dict(units)
        for name in units:
            columns.column(name)
        self._properties = [
            (names.get(name) or _property_name(columns, name), columns.take(name))
            for name in properties
        ]

    def facts(self, row: Sequence[Any]) -> Iterator[Triple]:
        """Yield what the row says of its entity."""
        entity = text_of(_value(row, self._entity))
        if not entity:
            return
        origin = self._origin(row)
        for name, choice in self._properties:
            value = _with_unit(_value(row, choice), self._units.get(choice.column, ""))
            yield from value_facts(entity, name, value, origin)

    def number(self) -> Select[Any]:
        """Return the SELECT that counts the values that are not NULL."""
        names = [choice.column for _, choice in self._properties]
        return self.columns.count_values(names, [self._entity])


def _property_name(columns: Columns, name: str) -> str:
    """Return a property's name; what is read as a name is not called an identifier."""
    return _KEY.sub("", name) if columns.is_reference(name) else name


def _value(row: Sequence[Any], choice: Choice) -> Any:
    value = _plain(row[choice.place])
    if choice.instead is not None and not text_of(value):
        return _plain(row[choice.instead])
    return value


def _plain(value: Any) -> Any:
    """Return a value without what Python and SQLAlchemy put around it."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Decimal):
        return f"{value:f}" if value.is_finite() else None
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, str) and value.endswith(".000000"):
        # How SQLAlchemy stores a moment in SQLite.
        return value.removesuffix(".000000") if re.match(r"\d+-\d\d-\d\d ", value) else value
    return value


def _with_unit(value: Any, unit: str) -> Any:
    if not unit or isinstance(value, (list, dict)):
        return value
    text = text_of(value)
    return f"{text} {unit}" if text else value


def _as_json(value: Any) -> Any:
    """Return a value as metadata can hold it, None for none."""
    if isinstance(value, (list, dict)):
        return json.loads(json.dumps(value, default=text_of))
    if isinstance(value, (bool, int)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return text_of(value) or None
