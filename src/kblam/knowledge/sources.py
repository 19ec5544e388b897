"""Triple sources over what Python reads by itself: lists, JSON lines, CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from kblam.errors import ConfigError, FactError, SourceError
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
            raise SourceError(f"There is no file {self.path} to read facts from.")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"

    def count(self) -> int | None:
        """Return None: to count the facts is to read the file."""
        return None

    def state(self) -> Hashable:
        """Return the file's time of writing and size (one look at the folder).

        Raises:
            SourceError: The file is gone.
        """
        with _reading(self.path):
            status = self.path.stat()
        return (status.st_mtime_ns, status.st_size, status.st_ino)

    def _open(self) -> IO[str]:
        # utf-8-sig takes UTF-8 with and without a mark at its beginning. csv wants line ends
        # as they are, json does not mind.
        return self.path.open(encoding="utf-8-sig", newline="")


class JsonlSource(_FileSource):
    """A file with one JSON object a line: entity, property, value, optionally id and metadata.

    Numbers are taken as they are written: 6.80 stays 6.80.

    Args:
        path: The file, UTF-8.

    Raises:
        SourceError: There is no such file.
    """

    def triples(self) -> Iterator[Triple]:
        """Read every triple from the beginning.

        Raises:
            FactError: A line is no fact; the message names file and line.
            SourceError: The file cannot be read, or is not UTF-8.
        """
        with _reading(self.path), self._open() as file:
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
        delimiter: What separates the columns, one character.

    Raises:
        ConfigError: The delimiter is not one character.
        SourceError: There is no such file.
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
        if len(delimiter) != 1 or delimiter in '"\r\n':
            raise ConfigError(
                f"The delimiter of a CSV file must be one character, such as ',' or a tab, "
                f"got {delimiter!r}."
            )
        self.columns = {entity: "entity", property: "property", value: "value"}
        self.delimiter = delimiter

    def triples(self) -> Iterator[Triple]:
        """Read every triple from the beginning.

        Raises:
            FactError: A column is missing, or a row is no fact; the message names the line.
            SourceError: The file cannot be read, or is not UTF-8.
        """
        with _reading(self.path), self._open() as file:
            # strict: a quotation mark that is never closed would swallow the rest of the file.
            reader = csv.DictReader(file, delimiter=self.delimiter, strict=True)
            try:
                self._check_header(reader.fieldnames or [])
                for row in reader:
                    yield self._triple(row, reader.line_num)
            except csv.Error as error:
                raise FactError(
                    f"{self.path}, line {reader.line_num + 1}: expected cells separated by "
                    f"{self.delimiter!r}, quoted as in RFC 4180, got what cannot be read as "
                    f"such ({error})."
                ) from error

    def _check_header(self, header: Iterable[str]) -> None:
        columns = list(header)
        if missing := [name for name in self.columns if name not in columns]:
            raise FactError(
                f"{self.path} has the columns {', '.join(columns) or '(none)':.500}; "
                f"{', '.join(missing)} missing. Name the columns to read with entity=, "
                "property= and value=."
            )
        if repeated := sorted({name for name in columns if columns.count(name) > 1}):
            raise FactError(
                f"{self.path} has several columns named {', '.join(map(repr, repeated)):.500}. "
                "Rename all but one."
            )

    def _triple(self, row: dict[str | Any, str | Any], number: int) -> Triple:
        # DictReader collects surplus cells under None, and fills missing ones with None.
        if None in row:
            raise FactError(f"{self.path}, line {number}: more cells than the header has columns.")
        cells = {self.columns.get(name, name): cell for name, cell in row.items() if cell}
        return _located(cells, f"{self.path}, line {number}")


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Say what is wrong with a file that cannot be read."""
    try:
        yield
    except FileNotFoundError as error:
        raise SourceError(
            f"The file {path} is gone. Put it back, or follow another source."
        ) from error
    except OSError as error:
        raise SourceError(f"The file {path} could not be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise SourceError(
            f"Expected {path} to be UTF-8 text, got the byte 0x{error.object[error.start]:02x} "
            f"({error.reason}). Save it as UTF-8."
        ) from error


class _Number(float):
    """A number of a JSON text that remembers how it was written."""

    def __new__(cls, text: str) -> _Number:
        number = super().__new__(cls, text)
        number.text = text
        return number

    text: str


def _located(item: Any, place: str) -> Triple:
    """Make a triple of an item, and name the place where that fails."""
    try:
        return as_triple(item)
    except FactError as error:
        raise FactError(f"{place}: {error}") from error


def _parsed(line: str, place: str) -> Any:
    try:
        item = json.loads(line, parse_float=_Number, parse_constant=_no_number)
    except RecursionError as error:
        raise FactError(f"{place}: lists within lists, deeper than can be read.") from error
    except ValueError as error:  # no JSON, or a whole number of thousands of digits
        raise FactError(f"{place}: expected a JSON object, got {line!r:.100} ({error}).") from error
    if isinstance(item, dict):
        parts = ("entity", "property", "value", "id")
        for key in parts:
            if isinstance(item.get(key), _Number):
                item[key] = item[key].text
    return item


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON; leave the fact out")
