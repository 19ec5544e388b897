"""Open what the command line is pointed at.

The library itself reads JSON lines and CSV. Packages that read more (``kblam_integrations`` is one)
announce a callable ``read(path_or_address) -> KnowledgeStore`` under the entry point group
``kblam.sources``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

from kblam.errors import ConfigError, StoreError, UnsupportedSourceError
from kblam.knowledge import CsvSource, JsonlSource, KnowledgeStore, TripleSource

__all__ = ["expect_store_name", "open_existing", "open_readable", "open_source"]

# As a path, which leaves one of two slashes.
_ADDRESS = re.compile("([a-z][a-z0-9+.-]+):/+(.+)")
SOURCES_GROUP = "kblam.sources"
STORE_SUFFIXES = (".db", ".sqlite", ".sqlite3")
TABLE_SUFFIXES = {".csv": ",", ".tsv": "\t"}


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


def open_source(
    path: Path, *, columns: tuple[str, str, str] = ("entity", "property", "value")
) -> TripleSource | KnowledgeStore:
    """Open a file of facts, or whatever is at an address, for reading.

    Args:
        path: The file, or an address such as ``http://localhost:7878/query``.
        columns: The names of the columns of entity, property and value, for tables.

    Raises:
        StoreError: There is no such file, or nothing reads it.
    """
    if address := _ADDRESS.fullmatch(path.as_posix()):
        return _open_foreign("://".join(address.groups()))
    if not path.exists():
        raise StoreError(
            f"Expected a file of facts at {str(path)!r}, found none. "
            "Give the path of a .jsonl, .csv, .ttl or .db file."
        )
    suffix = path.suffix.lower()
    if suffix in STORE_SUFFIXES:
        return open_existing(path)
    if suffix in TABLE_SUFFIXES:
        entity, property_, value = columns
        delimiter = TABLE_SUFFIXES[suffix]
        return CsvSource(path, entity=entity, property=property_, value=value, delimiter=delimiter)
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
