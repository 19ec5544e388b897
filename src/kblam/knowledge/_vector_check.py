"""Whether the vectors in a file beside a store are as they were written.

Opening the file reads none of them, and so does not notice.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

import numpy as np

from kblam.knowledge._beside import opened_beside
from kblam.knowledge._layout import Layout
from kblam.knowledge._vector_file import UNFIT, VectorFile, beside, read

__all__ = ["is_damaged"]


def is_damaged(database: Path, store: str, encoder: str, layout: Layout) -> bool:
    """Whether a store's file of vectors can be opened, and has others than were written."""
    with suppress(*UNFIT), opened_beside(beside(database, encoder)) as file:
        found = read(file, store, encoder, layout).file
        try:
            return list(_sums(file, found)) != _sums_written(file, found)
        except OSError:
            return True
    return False


def _sums(file: IO[bytes], found: VectorFile) -> Iterator[int]:
    """Read the vectors and yield their checksums."""
    header = found.header
    for offset in header.offsets(found.start)[:2]:
        file.seek(offset)
        for count in header.runs:
            yield zlib.crc32(file.read(count * header.layout.nbytes))


def _sums_written(file: IO[bytes], found: VectorFile) -> list[int]:
    file.seek(found.header.offsets(found.start)[2])
    sums: list[int] = np.frombuffer(file.read(), "<u4").tolist()
    return sums
