"""Open what the command line is pointed at.

The library itself reads no foreign format. Packages that do (``kblam_integrations`` is one)
announce themselves under the entry point group ``kblam.sources``.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

from kblam.errors import StoreError, UnsupportedSourceError
from kblam.knowledge import KnowledgeStore

__all__ = ["STORE_SUFFIXES", "load_into", "open_existing", "open_readable"]

SOURCES_GROUP = "kblam.sources"
STORE_SUFFIXES = (".db", ".sqlite", ".sqlite3")


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
    return KnowledgeStore(path)


def open_readable(path: Path) -> KnowledgeStore:
    """Open a knowledge store, or read any file of facts into memory.

    Raises:
        StoreError: There is no such file, or nothing reads it.
    """
    if path.suffix.lower() in STORE_SUFFIXES:
        return open_existing(path)
    return load_into(path, ":memory:")


def load_into(source: Path, target: Path | str) -> KnowledgeStore:
    """Read every fact of `source` into the store at `target`.

    Raises:
        StoreError: There is no such file, or nothing reads it.
    """
    if not source.exists():
        raise StoreError(
            f"Expected a file of facts at {str(source)!r}, found none. "
            "Give the path of a .jsonl, .csv, .ttl or .db file."
        )
    reasons = []
    for entry in sorted(entry_points(group=SOURCES_GROUP), key=lambda entry: entry.name):
        read: Callable[..., KnowledgeStore] = entry.load()
        try:
            return read(source, path=target)
        except UnsupportedSourceError as error:
            reasons.append(str(error))
    raise UnsupportedSourceError(
        " ".join(reasons) or f"No installed package reads files (entry points {SOURCES_GROUP!r})."
    )
