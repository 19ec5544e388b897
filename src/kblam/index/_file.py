"""An index in a file beside the store.

It is written whole under another name and then renamed. What it holds of each fact, beside its
code, is the store's row and a checksum of the key: whoever opens it for another state of the
store compares these, and need not believe any journal, which a store that was restored from a
copy has another one of.

===========  ====================================================================================
header       magic, CRC and length of a JSON object: whose facts, how many, and what follows
arrays       one after another, as the header lists them
codes        as faiss writes them
===========  ====================================================================================
"""

from __future__ import annotations

import json
import os
import struct
import uuid
import zlib
from collections.abc import Mapping
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["index_path", "read", "write"]

_MAGIC = b"KBLMIDX1"
_START = struct.Struct("<8sII")

Arrays = dict[str, npt.NDArray[Any]]


def index_path(database: Path, encoder: str, fitted_to: str = "") -> Path:
    """Return the name of the file of one store's index.

    Args:
        database: The store's file.
        encoder: The encoder's name.
        fitted_to: Whose queries it is fitted to.
    """
    mark = blake2b(f"{encoder}{fitted_to}".encode(), digest_size=4).hexdigest()
    return database.with_name(f"{database.name}-index-{mark}")


def write(
    path: Path, about: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]], mode: int
) -> bool:
    """Write a file; False where the folder or the disk does not allow it.

    Args:
        path: Where.
        about: What a JSON object can hold.
        arrays: What goes after it.
        mode: Who may read it.
    """
    parts = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    crc = 0
    for part in parts.values():
        crc = zlib.crc32(part.data, crc)
    layout = [(name, part.dtype.str, part.shape) for name, part in parts.items()]
    text = json.dumps({"about": dict(about), "arrays": layout, "crc": crc}).encode()
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    with suppress(OSError):
        try:
            number = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(number, "wb") as file:
                if hasattr(os, "fchmod"):
                    os.fchmod(number, mode)
                file.write(_START.pack(_MAGIC, zlib.crc32(text), len(text)) + text)
                for part in parts.values():
                    file.write(part.data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        return True
    return False


def read(path: Path) -> tuple[dict[str, Any], Arrays] | None:
    """Read a file; None if there is none, or it is not as it was written."""
    with suppress(OSError, ValueError, TypeError, KeyError, struct.error):
        content = path.read_bytes()
        magic, crc, length = _START.unpack_from(content)
        text = content[_START.size : _START.size + length]
        if magic != _MAGIC or zlib.crc32(text) != crc:
            return None
        header = json.loads(text)
        start = _START.size + length
        if zlib.crc32(memoryview(content)[start:]) != header["crc"]:
            return None
        arrays: Arrays = {}
        for name, kind, shape in header["arrays"]:
            count = int(np.prod(shape))
            array: npt.NDArray[Any] = np.frombuffer(content, kind, count, start).reshape(shape)
            arrays[name] = array.copy()
            start += array.nbytes
        return header["about"], arrays
    return None
