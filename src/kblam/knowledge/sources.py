"""Triple sources over what Python reads by itself: lists, JSON lines, CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Hashable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from kblam.errors import FactError, StoreError
from kblam.knowledge.triple import Triple, as_triple

__all__ = ["CsvSource", "JsonlSource", "ListSource", "TripleLike"]

TripleLike = Triple | tuple[str, str, str] | Mapping[str, Any]


class ListSource:
    """Triples that are in memory already.

    Args:
        items: Triples, tuples (entity, property, value) or mappings with these keys.
    """

    def __init__(self, items: Iterable[TripleLike]) -> None:
        self._items = list(items)

    def triples(self) -> Iterator[Triple]:
        """Read every triple from the beginning.

        Raises:
            FactError: An item is no triple; the message counts the items from 0.
        """
        for index, item in enumerate(self._items):
            yield _located(item, f"Item {index}")

    def count(self) -> int:
        """Return the number of items."""
        return len(self._items)


class _FileSource:
    """A file of facts, re-read only when it has been written."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise StoreError(f"There is no file {self.path} to read facts from.")

    def count(self) -> int | None:
        """Return None: to count the facts is to read the file."""
        return None

    def state(self) -> Hashable:
        """Return the file's time of writing and size (one look at the folder)."""
        status = self.path.stat()
        return (status.st_mtime_ns, status.st_size, status.st_ino)


class JsonlSource(_FileSource):
    """A file with one JSON object a line: entity, property, value, optionally id and metadata.

    Args:
        path: The file, UTF-8.

    Raises:
        StoreError: There is no such file.
    """

    def triples(self) -> Iterator[Triple]:
        """Read every triple from the beginning.

        Raises:
            FactError: A line is no fact; the message names file and line.
        """
        with self.path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                place = f"{self.path}, line {number}"
                yield _located(_parsed(line, place), place)


class CsvSource(_FileSource):
    """A CSV file with a header. Columns beside those named here become metadata.

    Args:
        path: The file, UTF-8.
        entity: The name of the column that holds the entity.
        property: The name of the column that holds the property.
        value: The name of the column that holds the value.
        delimiter: What separates the columns.

    Raises:
        StoreError: There is no such file.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        entity: str = "entity",
        property: str = "property",
        value: str = "value",
        delimiter: str = ",",
    ) -> None:
        super().__init__(path)
        self.columns = {entity: "entity", property: "property", value: "value"}
        self.delimiter = delimiter

    def triples(self) -> Iterator[Triple]:
        """Read every triple from the beginning.

        Raises:
            FactError: A column is missing, or a row is no fact; the message names the line.
        """
        with self.path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter=self.delimiter)
            header = reader.fieldnames or []
            if missing := [name for name in self.columns if name not in header]:
                raise FactError(
                    f"{self.path} has the columns {', '.join(header) or '(none)'}; "
                    f"{', '.join(missing)} missing. Name the columns to read with entity=, "
                    "property= and value=."
                )
            for row in reader:
                yield self._triple(row, reader.line_num)

    def _triple(self, row: dict[str | Any, str | Any], number: int) -> Triple:
        # DictReader collects surplus cells under None, and fills missing ones with None.
        if None in row:
            raise FactError(f"{self.path}, line {number}: more cells than the header has columns.")
        cells = {self.columns.get(name, name): cell for name, cell in row.items() if cell}
        return _located(cells, f"{self.path}, line {number}")


def _located(item: Any, place: str) -> Triple:
    """Make a triple of an item, and name the place where that fails."""
    try:
        return as_triple(item)
    except FactError as error:
        raise FactError(f"{place}: {error}") from error


def _parsed(line: str, place: str) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise FactError(f"{place}: expected a JSON object, got {line!r:.100} ({error}).") from error
