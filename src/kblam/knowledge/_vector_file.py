"""Vectors in a file beside the store, mapped into memory.

The file repeats what the store's database holds, in the form in which it is read: opening it
reads the identifiers only, and processes share the pages of the vectors. It is written whole
under another name and then renamed, so that there is never a torn one. It is of one state of
one store, and is brought up to that store's present state by the journal; whoever opens it
checks the outcome against the digest that the database keeps of its facts. What does not fit is
left alone, and the database is read instead. (Of a store that was put back from a copy it may be
the state of another history; the journal's marks tell.)

===========  ====================================================================================
header       magic, CRC and length of a JSON object: whose vectors these are and how many
rows         where the store keeps each fact, int64 (M)
digests      the facts' digests, int64 (M)
ends         where each identifier ends, int64 (M)
identifiers  one after another, UTF-8
keys         float16 (C, E), or int8 with factors, of which the first M are there, the others
             room to grow
values       as the keys
sums         CRCs of the keys, then of the values, uint32, one for each run of vectors, which
             :mod:`kblam.knowledge._vector_check` compares
===========  ====================================================================================
"""

from __future__ import annotations

import mmap
import os
import struct
import tempfile
import weakref
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from kblam.knowledge._beside import file_beside, opened_beside, read_header, replacing, write_header
from kblam.knowledge._fact_ids import FactIds
from kblam.knowledge._layout import Layout, Rows, VectorForm, expect_form, layout_of

__all__ = [
    "UNFIT",
    "Content",
    "Header",
    "Stored",
    "VectorFile",
    "beside",
    "keep",
    "opened",
    "read",
    "scratch",
]

Int = npt.NDArray[np.int64]

_MAGIC = b"KBLMVEC2"
_PAGE = 4096
# Room for facts that come, as a share of those there are.
_SLACK = 1 / 16
# Vectors that are written and checked together.
_RUN = 16_384
# What reading a file raises that is not there, not whole, or another one.
UNFIT = (OSError, ValueError, TypeError, struct.error)


@dataclass(frozen=True, slots=True)
class Header:
    """Whose vectors a file holds.

    Attributes:
        store: The store's identity.
        encoder: The encoder's name.
        dimension: E.
        sequence: The journal's position at the state it holds.
        mark: What the last change before that state drew at random.
        count: M.
        capacity: C.
        letters: Bytes of all identifiers.
        index_crc: Checksum of everything before the keys but the header.
        form: What keys and values are kept in.
    """

    store: str
    encoder: str
    dimension: int
    sequence: int
    mark: int
    count: int
    capacity: int
    letters: int
    index_crc: int
    form: VectorForm

    @property
    def layout(self) -> Layout:
        """How the vectors lie."""
        return Layout(self.form, self.dimension)

    def offsets(self, start: int) -> tuple[int, int, int]:
        """Where keys, values and sums begin, if rows begin at ``start``."""
        vectors = self.capacity * self.layout.nbytes
        keys = _aligned(start + 24 * self.count + self.letters)
        values = _aligned(keys + vectors)
        return keys, values, values + vectors

    @property
    def runs(self) -> list[int]:
        """How many vectors are checked together, of the keys as of the values."""
        return [min(_RUN, self.count - begin) for begin in range(0, self.count, _RUN)]

    def size(self, start: int) -> int:
        """Where the file ends, if rows begin at ``start``."""
        return self.offsets(start)[2] + 2 * 4 * len(self.runs)


class _Handle:
    """Keeps a file open for as long as somebody holds this.

    Args:
        file: The file, which its owner may close.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.number = os.dup(file.fileno())
        weakref.finalize(self, os.close, self.number)


@dataclass(frozen=True, slots=True)
class VectorFile:
    """An open file of vectors; it stays what it is when another takes its name.

    Attributes:
        file: Keeps it open.
        header: What it holds.
        start: Where the rows begin.
    """

    file: _Handle
    header: Header
    start: int

    def map(self) -> tuple[Rows, Rows]:
        """Map keys and values, C each. Writing to them changes this mapping alone."""
        keys, values, end = self.header.offsets(self.start)
        # One file, however often it is mapped: only pages that are written to are copied.
        mapped = mmap.mmap(self.file.number, end, access=mmap.ACCESS_COPY)
        layout, capacity = self.header.layout, self.header.capacity
        return layout.read(mapped, capacity, keys), layout.read(mapped, capacity, values)


@dataclass(frozen=True, slots=True)
class Stored:
    """What a file holds beside the vectors.

    Attributes:
        file: The file.
        ids: The facts' identifiers.
        rows: Where the store keeps them, ascending (M).
        digests: Their digests (M).
    """

    file: VectorFile
    ids: FactIds
    rows: Int
    digests: Int


def beside(database: Path, encoder: str) -> Path:
    """Return the name of the file of one store's vectors under one encoder."""
    return file_beside(database, "vectors", encoder)


def opened(database: Path, store: str, encoder: str, layout: Layout) -> Stored | None:
    """Open the file of a store's vectors; None if there is none that can be trusted."""
    with suppress(*UNFIT), opened_beside(beside(database, encoder)) as file:
        return read(file, store, encoder, layout)
    return None


def read(file: IO[bytes], store: str, encoder: str, layout: Layout) -> Stored:
    """Read all but the vectors.

    Raises:
        OSError: It cannot be read.
        TypeError: Another version of kblam wrote it.
        ValueError: The file is not whole, or holds other vectors.
        struct.error: It is no such file.
    """
    about, end = read_header(file, _MAGIC)
    header = Header(**about)
    expect_form(header.form)
    if (header.store, header.encoder, header.layout) != (store, encoder, layout):
        raise ValueError(f"Expected vectors of {encoder} in store {store}, got others.")
    start = _aligned(end)
    if os.fstat(file.fileno()).st_size != header.size(start):
        raise ValueError("Expected a whole file of vectors, got a part of one.")
    file.seek(start)
    index = file.read(24 * header.count + header.letters)
    if zlib.crc32(index) != header.index_crc:
        raise ValueError("Expected a file of vectors as it was written, got a changed one.")
    numbers = np.frombuffer(index, "<i8", 3 * header.count).reshape(3, header.count)
    rows, digests, ends = numbers.astype(np.int64)
    ids = FactIds(index[24 * header.count :], ends)
    return Stored(VectorFile(_Handle(file), header, start), ids, rows, digests)


@dataclass(frozen=True, slots=True)
class Content:
    """What is to be written: see :class:`Stored`; keys and values are M vectors."""

    store: str
    encoder: str
    sequence: int
    mark: int
    ids: FactIds
    rows: Int
    digests: Int
    keys: Rows
    values: Rows


def keep(database: Path, content: Content) -> VectorFile | None:
    """Write a store's vectors beside it; None where the folder or disk does not allow it."""
    target = beside(database, content.encoder)
    with suppress(OSError):
        with replacing(target, database.stat().st_mode & 0o777) as file:
            header, start = _write(file, content)
            handle = _Handle(file)
        return VectorFile(handle, header, start)
    return None


def scratch(database: Path, content: Content) -> VectorFile | None:
    """Write vectors to a file without a name, for this process alone."""
    with suppress(OSError), tempfile.TemporaryFile(dir=database.parent) as file:
        header, start = _write(file, content)
        file.flush()
        return VectorFile(_Handle(file), header, start)
    return None


def _write(file: IO[bytes], content: Content) -> tuple[Header, int]:
    layout, count = layout_of(content.keys), len(content.rows)
    numbers = np.stack([content.rows, content.digests, content.ids.ends]).astype("<i8")
    index = (numbers.tobytes(), content.ids.packed)
    header = Header(
        store=content.store,
        encoder=content.encoder,
        dimension=layout.dimension,
        sequence=content.sequence,
        mark=content.mark,
        count=count,
        capacity=count + int(_SLACK * count) + 1024,
        letters=len(content.ids.packed),
        index_crc=zlib.crc32(index[1], zlib.crc32(index[0])),
        form=layout.form,
    )
    start = _aligned(write_header(file, _MAGIC, asdict(header)))
    file.seek(start)
    for part in index:
        file.write(part)
    keys, values, end = header.offsets(start)
    sums = []
    for offset, vectors in ((keys, content.keys), (values, content.values)):
        file.seek(offset)
        for part in _runs(vectors):
            file.write(part)
            sums.append(zlib.crc32(part))
    file.seek(end)  # the room to grow takes no space on the disk
    file.write(np.array(sums, "<u4").tobytes())
    file.truncate(header.size(start))
    return header, start


def _runs(vectors: Rows) -> Iterator[Any]:
    item = layout_of(vectors).item
    for begin in range(0, len(vectors), _RUN):
        yield np.ascontiguousarray(vectors[begin : begin + _RUN], item).data


def _aligned(offset: int) -> int:
    return -(-offset // _PAGE) * _PAGE
