"""Files beside a store's database: whole or not there, readable by whom the database is."""

from __future__ import annotations

import glob
import json
import os
import stat
import struct
import time
import uuid
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any

__all__ = ["file_beside", "opened_beside", "read_header", "replacing", "write_header"]

# Magic, checksum and length of a JSON object, which follows.
_START = struct.Struct("<8sII")
# A writer that takes longer than this was killed.
_ABANDONED = 3600.0


def file_beside(database: Path, kind: str, about: str) -> Path:
    """Return the name of a file beside a database.

    Args:
        database: The store's file.
        kind: What it holds.
        about: Whose that is, such as an encoder's name.
    """
    mark = blake2b(about.encode(), digest_size=4).hexdigest()
    return database.with_name(f"{database.name}-{kind}-{mark}")


@contextmanager
def opened_beside(path: Path) -> Iterator[IO[bytes]]:
    """Open a file to be read.

    Raises:
        OSError: There is none, or it cannot be read, or it is a pipe or a device, which might keep
            its reader waiting for ever.
    """
    # A pipe that nobody writes to is waited for by opening it already.
    no_wait = getattr(os, "O_NONBLOCK", 0)
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | no_wait)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(f"Expected {path} to be a regular file, got something else. Delete it.")
        yield file


@contextmanager
def replacing(target: Path, mode: int) -> Iterator[IO[bytes]]:
    """Write a file under another name, force it to disk, and rename it.

    Args:
        target: Its name; what had it stays until the new file is whole.
        mode: Its permissions: it tells about the facts, as the database does.

    Raises:
        OSError: The folder or the disk does not allow it.
    """
    _remove_abandoned(target)
    temporary = target.with_name(f"{target.name}.{uuid.uuid4().hex}.tmp")
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    number = os.open(temporary, flags, 0o600)
    try:
        with os.fdopen(number, "w+b") as file:
            if hasattr(os, "fchmod"):
                os.fchmod(number, mode)
            yield file
            file.flush()
            os.fsync(number)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _remove_abandoned(target: Path) -> None:
    """Remove what killed writers left."""
    for path in target.parent.glob(f"{glob.escape(target.name)}.*.tmp"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _ABANDONED:
                path.unlink()


def write_header(file: IO[bytes], magic: bytes, header: Mapping[str, Any]) -> int:
    """Begin a file with what it holds.

    Returns:
        Where the header ends.
    """
    text = json.dumps(dict(header)).encode()
    return file.write(_START.pack(magic, zlib.crc32(text), len(text)) + text)


def read_header(file: IO[bytes], magic: bytes) -> tuple[dict[str, Any], int]:
    """Read what :func:`write_header` wrote.

    Returns:
        The header, and where it ends.

    Raises:
        ValueError: The file is another one, or changed.
        struct.error: It is shorter than any header.
    """
    found, crc, length = _START.unpack(file.read(_START.size))
    text = file.read(length) if found == magic else b""
    if found != magic or zlib.crc32(text) != crc:
        raise ValueError(f"Expected a file that begins with {magic!r}, got something else.")
    header: dict[str, Any] = json.loads(text)
    return header, _START.size + length
