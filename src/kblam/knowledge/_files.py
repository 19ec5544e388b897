"""What all sources over files have in common: they may be gone, or not be text."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from kblam.errors import FactError, SourceError
from kblam.knowledge.triple import Triple, as_triple

__all__ = ["PARTS", "FileSource", "located", "reading", "written"]

PARTS = ("entity", "property", "value")


class FileSource:
    """A file of facts, re-read only when it has been written."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        with reading(self.path):
            found = self.path.is_file()
        if not found:
            raise SourceError(f"There is no file {self.path} to read facts from.")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"

    def count(self) -> int | None:
        """Return None: to count the facts is to read the file."""
        return None

    def state(self) -> Hashable:
        """Return what changes when the file is written (one look at the folder).

        Raises:
            SourceError: The file is gone.
        """
        with reading(self.path):
            return written(self.path)

    def open(self) -> IO[str]:
        """Open it as text."""
        # utf-8-sig takes UTF-8 with and without a mark at its beginning. csv wants line ends
        # as they are, json does not mind.
        return self.path.open(encoding="utf-8-sig", newline="")


def written(path: Path) -> Hashable:
    """Return what changes when a file is written.

    Raises:
        OSError: It is gone, or may not be looked at.
    """
    status = path.stat()
    # Programs that copy set the time of writing to that of the original, but none can set the
    # time of the last change.
    return (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Say what is wrong with a file that cannot be read.

    Raises:
        SourceError: It is gone, may not be read, or is not UTF-8.
    """
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


def located(item: Any, place: str) -> Triple:
    """Make a triple of an item, and name the place where that fails."""
    try:
        return as_triple(item)
    except FactError as error:
        raise FactError(f"{place}: {error}") from error
