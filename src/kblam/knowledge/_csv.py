"""Tables in text files."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kblam.errors import ConfigError, FactError
from kblam.knowledge._files import PARTS, FileSource, located, reading
from kblam.knowledge.triple import Triple

__all__ = ["CsvSource"]


class CsvSource(FileSource):
    """A CSV file with a header.

    A *long* table has a fact in each row; columns beside those named here become metadata (but
    ``id``, the fact's own identifier). A *wide* one has an entity in each row, and the other
    columns are its properties; an empty cell is no fact. Columns are found without regard to
    case (``Entity``)::

        CsvSource("facts.csv")
        CsvSource("people.csv", entity="name", property=None, value=None)

    Args:
        path: The file, UTF-8.
        entity: The name of the column that holds the entity.
        property: The name of the column that holds the property; None for a wide table.
        value: The name of the column that holds the value; None for a wide table.
        metadata: Of a wide table, the columns that are no properties but metadata.
        delimiter: What separates the columns, one character.

    Raises:
        ConfigError: The delimiter is not one character, or the columns contradict each other.
        SourceError: There is no such file.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        entity: str = "entity",
        property: str | None = "property",
        value: str | None = "value",
        metadata: Sequence[str] = (),
        delimiter: str = ",",
    ) -> None:
        super().__init__(path)
        if len(delimiter) != 1 or delimiter in '"\r\n':
            raise ConfigError(
                f"The delimiter of a CSV file must be one character, such as ',' or a tab, "
                f"got {delimiter!r}."
            )
        wide = property is None and value is None
        if (property is None or value is None) != wide or (metadata and not wide):
            raise ConfigError(
                "A long table has the columns property= and value=, and all others are metadata; "
                f"a wide one has neither. Got {property!r}, {value!r} and {list(metadata)}."
            )
        self._entity = entity
        self._parts = None if wide else (entity, property or "", value or "")
        self._metadata = tuple(metadata)
        self._delimiter = delimiter

    def triples(self) -> Iterator[Triple]:
        """Read every triple from the beginning.

        Raises:
            FactError: A column is missing, or a row is no fact; the message names the line.
            SourceError: The file cannot be read, or is not UTF-8.
        """
        with reading(self.path), self.open() as file:
            # strict: a quotation mark that is never closed would swallow the rest of the file.
            reader = csv.DictReader(file, delimiter=self._delimiter, strict=True)
            try:
                columns = self._columns(reader.fieldnames or [])
                for row in reader:
                    yield from self._facts(row, columns, f"{self.path}, line {reader.line_num}")
            except csv.Error as error:
                limit = csv.field_size_limit()
                if f"field limit ({limit})" in str(error):
                    raise FactError(
                        f"{self.path}, line {reader.line_num + 1}: expected cells of at most "
                        f"{limit:,} characters, Python's limit, got a longer one. See whether a "
                        "quotation mark is missing before it; if it is meant, raise the limit "
                        "with csv.field_size_limit(...), which holds for the whole process."
                    ) from error
                raise FactError(
                    f"{self.path}, line {reader.line_num + 1}: expected cells separated by "
                    f"{self._delimiter!r}, quoted as in RFC 4180, got what cannot be read as "
                    f"such ({error})."
                ) from error

    def _columns(self, header: Sequence[str]) -> dict[str, str]:
        """Return the file's columns by the names under which they are read."""
        wanted = self._parts or (self._entity, *self._metadata)
        found = {name: _column(name, header) for name in (*wanted, "id")}
        if missing := [name for name in wanted if found[name] is None]:
            raise FactError(
                f"{self.path} has the columns {', '.join(header) or '(none)':.500}; "
                f"{', '.join(missing)} missing. Name the columns to read with entity=, "
                "property= and value=; where each row is an entity and each column a property, "
                "property=None and value=None. For kblam index: --entity, --property and --value, "
                "or --entity and --wide; --delimiter if the columns are separated by another "
                f"character than {self._delimiter!r}."
            )
        if repeated := sorted({name for name in header if header.count(name) > 1}):
            raise FactError(
                f"{self.path} has several columns named {', '.join(map(repr, repeated)):.500}. "
                "Rename all but one."
            )
        return {name: column for name, column in found.items() if column is not None}

    def _facts(
        self, row: dict[str | Any, str | Any], columns: Mapping[str, str], place: str
    ) -> Iterator[Triple]:
        # DictReader collects surplus cells under None, and fills missing ones with None.
        if None in row:
            raise FactError(f"{place}: more cells than the header has columns.")
        cells = {name: cell for name, cell in row.items() if cell}
        if self._parts is not None:
            item = {
                key: cells.pop(columns[name])
                for key, name in zip(PARTS, self._parts, strict=True)
                if columns[name] in cells
            }
            identifier = cells.pop(columns.get("id", "id"), None)
            yield located({**item, "id": identifier, "metadata": cells}, place)
            return
        entity = cells.pop(columns[self._entity], "")
        metadata = {
            name: cells.pop(columns[name]) for name in self._metadata if columns[name] in cells
        }
        for name, cell in cells.items():
            if cell.strip():
                item = {"entity": entity, "property": name, "value": cell}
                yield located({**item, "metadata": metadata}, place)


def _column(name: str, header: Sequence[str]) -> str | None:
    """Return the column of a name, or else the only one that differs from it in case alone."""
    if name in header:
        return name
    alike = [column for column in header if column.casefold() == name.casefold()]
    return alike[0] if len(alike) == 1 else None
