"""Files that are whole or not there at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["replacing"]


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write a file beside its place; it is put there once it is whole.

    A run that is cut while it writes leaves the file from before, or none, and other processes
    never read half of one.

    Args:
        path: The file; its folder is made if need be.

    Yields:
        Where to write, with the same ending.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.stem}.new{path.suffix}")
    yield fresh
    fresh.replace(path)
