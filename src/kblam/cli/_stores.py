"""Open what the command line is pointed at.

The library itself reads JSON lines and CSV. Packages that read more (``kblam_integrations`` is one)
announce a callable ``read(path_or_address) -> KnowledgeStore`` under the entry point group
``kblam.sources``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

from kblam.errors import ConfigError, StoreError, UnsupportedSourceError
from kblam.knowledge import CsvSource, JsonlSource, KnowledgeStore, TripleSource

__all__ = [
    "Table",
    "expect_facts",
    "expect_store_name",
    "open_existing",
    "open_readable",
    "open_source",
]

# As a path, which leaves one of two slashes.
_ADDRESS = re.compile("([a-z][a-z0-9+.-]+):/+(.+)")
SOURCES_GROUP = "kblam.sources"
STORE_SUFFIXES = (".db", ".sqlite", ".sqlite3")
TABLE_SUFFIXES = {".csv": ",", ".tsv": "\t"}


@dataclass(frozen=True)
class Table:
    """How a table in a file is laid out.

    Attributes:
        entity: The column of the entity.
        property: The column of the property.
        value: The column of the value.
        wide: Whether each row is an entity, whose other columns are its properties.
        delimiter: What separates the columns; None is what the file's name says.

    Raises:
        ConfigError: A wide table is given columns for property and value.
    """

    entity: str = "entity"
    property: str = "property"
    value: str = "value"
    wide: bool = False
    delimiter: str | None = None

    def __post_init__(self) -> None:
        if self.wide and (self.property, self.value) != (Table.property, Table.value):
            raise ConfigError(
                "Expected --wide, where every column but --entity is a property, or --property and "
                "--value, got both. Leave out one or the other."
            )

    def open(self, path: Path) -> CsvSource:
        """Open a file that is such a table."""
        named = TABLE_SUFFIXES[path.suffix.lower()]
        return CsvSource(
            path,
            entity=self.entity,
            property=None if self.wide else self.property,
            value=None if self.wide else self.value,
            delimiter=named if self.delimiter is None else self.delimiter,
        )


_LONG = Table()


def expect_facts(source: TripleSource | KnowledgeStore, store: Path) -> None:
    """Read a source once before a new store is made for it, which would else be left empty.

    Raises:
        FactError: It holds something that is no fact.
        SourceError: It cannot be read.
    """
    if store.exists() or isinstance(source, KnowledgeStore):
        return
    for _ in source.triples():
        pass


def expect_store_name(path: Path, command: str) -> None:
    """Expect that a store to be written is named as one.

    Args:
        path: The store.
        command: What to write before its name, for the message.

    Raises:
        ConfigError: It is not.
    """
    if path.suffix.lower() not in STORE_SUFFIXES:
        raise ConfigError(
            f"Expected the store's name, the last one, to end in {' or '.join(STORE_SUFFIXES)}, "
            f"got {path.name!r}. Use, for example: {command} {path.stem}.db"
        )


def open_existing(path: Path) -> KnowledgeStore:
    """Open a knowledge store that is there already, rather than make an empty one.

    Raises:
        StoreError: There is no such file, or it is not a store.
    """
    if not path.is_file():
        raise StoreError(
            f"Expected a knowledge store at {str(path)!r}, found no such file. "
            f"Make one with: kblam index FACTS.jsonl {path}"
        )
    return KnowledgeStore(path, create=False)


def open_readable(path: Path) -> KnowledgeStore:
    """Open a knowledge store, or read any file of facts into memory.

    Raises:
        FactError: The file holds something that is no fact.
        StoreError: There is no such file, or nothing reads it.
    """
    if path.suffix.lower() in STORE_SUFFIXES:
        return open_existing(path)
    source = open_source(path)
    return source if isinstance(source, KnowledgeStore) else KnowledgeStore.from_source(source)


def open_source(path: Path, table: Table = _LONG) -> TripleSource | KnowledgeStore:
    """Open a file of facts, or whatever is at an address, for reading.

    Args:
        path: The file, or an address such as ``http://localhost:7878/query``.
        table: How it is laid out, if it is a table.

    Raises:
        ConfigError: It is no table, and a layout is given.
        StoreError: There is no such file, or nothing reads it.
    """
    suffix = path.suffix.lower()
    if table != _LONG and suffix not in TABLE_SUFFIXES:
        raise ConfigError(
            f"Expected a table, {' or '.join(TABLE_SUFFIXES)}, to name columns of, got "
            f"{path.name!r}. Leave out --entity, --property, --value, --wide and --delimiter."
        )
    if address := _ADDRESS.fullmatch(path.as_posix()):
        return _open_foreign("://".join(address.groups()))
    if not path.exists():
        raise StoreError(
            f"Expected a file of facts at {str(path)!r}, found none. "
            "Give the path of a .jsonl, .csv, .ttl or .db file."
        )
    if suffix in STORE_SUFFIXES:
        return open_existing(path)
    if suffix in TABLE_SUFFIXES:
        return table.open(path)
    if suffix == ".jsonl":
        return JsonlSource(path)
    return _open_foreign(path)


def _open_foreign(path: Path | str) -> KnowledgeStore:
    reasons = []
    for entry in sorted(entry_points(group=SOURCES_GROUP), key=lambda entry: entry.name):
        read: Callable[[Path | str], KnowledgeStore] = entry.load()
        try:
            return read(path)
        except UnsupportedSourceError as error:
            reasons.append(str(error))
    raise UnsupportedSourceError(
        " ".join(reasons)
        or f"Expected a .jsonl, .csv or .tsv file, got {Path(path).name!r}, and no installed "
        f"package announces a reader of others (entry points {SOURCES_GROUP!r})."
    )
