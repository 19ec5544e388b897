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

import struct
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kblam.knowledge._beside import file_beside, opened_beside, read_header, replacing, write_header

__all__ = ["index_path", "read", "write"]

_MAGIC = b"KBLMIDX1"

Arrays = dict[str, npt.NDArray[Any]]


def index_path(database: Path, encoder: str, fitted_to: str = "") -> Path:
    """Return the name of the file of one store's index.

    Args:
        database: The store's file.
        encoder: The encoder's name.
        fitted_to: Whose queries it is fitted to.
    """
    return file_beside(database, "index", f"{encoder}{fitted_to}")


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
    header = {"about": dict(about), "arrays": layout, "crc": crc}
    with suppress(OSError):
        with replacing(path, mode) as file:
            write_header(file, _MAGIC, header)
            for part in parts.values():
                file.write(part.data)
        return True
    return False


def read(path: Path) -> tuple[dict[str, Any], Arrays] | None:
    """Read a file; None if there is none, or it is not as it was written."""
    with suppress(OSError, ValueError, TypeError, KeyError, struct.error):
        with opened_beside(path) as file:
            header, _ = read_header(file, _MAGIC)
            content = file.read()
        if zlib.crc32(content) != header["crc"]:
            return None
        arrays: Arrays = {}
        start = 0
        for name, kind, shape in header["arrays"]:
            count = int(np.prod(shape))
            array: npt.NDArray[Any] = np.frombuffer(content, kind, count, start).reshape(shape)
            arrays[name] = array.copy()
            start += array.nbytes
        return header["about"], arrays
    return None
