"""Embedding the facts that lack vectors."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm.auto import tqdm

from kblam.errors import StoreError
from kblam.knowledge._database import Database
from kblam.knowledge._layout import Layout
from kblam.knowledge._rows import COLUMNS, new_fact, text_hash
from kblam.knowledge._schema import read_form
from kblam.knowledge._state import read_state
from kblam.knowledge.protocols import TextEmbedder

__all__ = ["ADVANCE", "INSERT_VECTOR", "checked", "encode_facts", "encoder_number", "lacks_vectors"]

_KEY_LACKS = """
NOT EXISTS (SELECT 1 FROM embeddings WHERE text = key_text AND encoder = :encoder)
"""
_VALUE_LACKS = """
NOT EXISTS (SELECT 1 FROM embeddings WHERE text = value_text AND encoder = :encoder)
"""
# Facts that have not changed since the last complete encoding have vectors already.
_PENDING = f"""
SELECT row FROM facts
WHERE id IN (SELECT fact_id FROM journal WHERE seq > :through)
  AND ({_KEY_LACKS} OR {_VALUE_LACKS})
ORDER BY row
"""
_CHUNK = f"""
SELECT {_KEY_LACKS}, {_VALUE_LACKS}, {COLUMNS} FROM facts
WHERE row IN (SELECT value FROM json_each(:rows))
"""
# The fact may have been changed or removed while its text was embedded.
INSERT_VECTOR = """
INSERT OR IGNORE INTO embeddings (encoder, text, vector)
SELECT :encoder, :text, :vector
WHERE EXISTS (SELECT 1 FROM facts WHERE key_text = :text)
   OR EXISTS (SELECT 1 FROM facts WHERE value_text = :text)
"""
ADVANCE = "UPDATE encoders SET through = max(through, :through) WHERE encoder = :encoder"


def lacks_vectors(database: Database, embedder: TextEmbedder) -> bool:
    """Whether facts may lack this encoder's vectors, which costs one look."""
    _, through = encoder_number(database, embedder)
    with database.read() as connection:
        return read_state(connection).sequence != through


def encode_facts(
    database: Database, embedder: TextEmbedder, *, progress: bool, batch_size: int
) -> int:
    """Embed the facts that lack vectors; see ``KnowledgeStore.encode``."""
    encoder, through = encoder_number(database, embedder)
    with database.read() as connection:
        sequence = read_state(connection).sequence
        if sequence == through:
            return 0
        parameters = {"encoder": encoder, "through": through}
        pending = [row for (row,) in connection.execute(_PENDING, parameters)]
    bar = tqdm(total=len(pending), desc="Embedding", unit=" facts", disable=not progress)
    with bar:
        for start in range(0, len(pending), batch_size):
            rows = pending[start : start + batch_size]
            last = start + batch_size >= len(pending)
            _encode_rows(database, embedder, encoder, rows, sequence if last else None)
            bar.update(len(rows))
    if not pending:
        with database.write() as connection:
            connection.execute(ADVANCE, {"encoder": encoder, "through": sequence})
    return len(pending)


def encoder_number(database: Database, embedder: TextEmbedder) -> tuple[int, int]:
    """Return the encoder's number and how far the facts have its vectors."""
    query = "SELECT encoder, through, dimension FROM encoders WHERE name = ?"
    with database.read() as connection:
        row = connection.execute(query, (embedder.name,)).fetchone()
    if row is None:
        with database.write() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO encoders (name, dimension) VALUES (?, ?)",
                (embedder.name, embedder.dimension),
            )
            row = connection.execute(query, (embedder.name,)).fetchone()
    encoder, through, dimension = row
    if dimension != embedder.dimension:
        raise StoreError(
            f"The store holds vectors of length {dimension} from the encoder "
            f"{embedder.name!r}, but this encoder's have length {embedder.dimension}. "
            "Give different encoders different names."
        )
    return encoder, through


def _encode_rows(
    database: Database, embedder: TextEmbedder, encoder: int, rows: list[int], through: int | None
) -> None:
    """Embed the texts of some facts, outside of any transaction, and write them in one.

    Args:
        database: The store.
        embedder: Embeds the texts.
        encoder: Its number.
        rows: The facts.
        through: Up to where in the journal all facts have vectors with these; None: not known.
    """
    with database.read() as connection:
        texts = _missing_texts(connection, encoder, rows)
    if not texts and through is None:
        return
    vectors: npt.NDArray[Any] = np.empty((0, embedder.dimension), "<f2")
    if texts:
        vectors = checked(embedder, embedder.encode(list(texts.values())), len(texts))
    with database.write() as connection:
        # The store may have been converted meanwhile.
        vectors = Layout(read_form(connection), embedder.dimension).packed(vectors)
        connection.executemany(
            INSERT_VECTOR,
            (
                {"encoder": encoder, "text": text, "vector": vector.tobytes()}
                for text, vector in zip(texts, vectors, strict=True)
            ),
        )
        if through is not None:
            # With the last vectors: a commit waits for the disk.
            connection.execute(ADVANCE, {"encoder": encoder, "through": through})


def _missing_texts(connection: sqlite3.Connection, encoder: int, rows: list[int]) -> dict[int, str]:
    """Return the texts of these facts that have no vector, each once, by their hashes."""
    texts: dict[int, str] = {}
    parameters = {"encoder": encoder, "rows": json.dumps(rows)}
    for key_lacks, value_lacks, *columns in connection.execute(_CHUNK, parameters):
        fact = new_fact(columns)
        if key_lacks:
            texts[text_hash(fact.key_text)] = fact.key_text
        if value_lacks:
            texts[text_hash(fact.value_text)] = fact.value_text
    return texts


def checked(
    embedder: TextEmbedder, vectors: npt.NDArray[Any], count: int
) -> npt.NDArray[np.float16]:
    """Return the vectors in half precision, little-endian.

    Raises:
        StoreError: They have another shape than the encoder promised, or hold NaN or infinity.
    """
    half = np.ascontiguousarray(vectors, dtype="<f2")
    if half.shape != (count, embedder.dimension):
        raise StoreError(
            f"The encoder {embedder.name!r} was given {count} texts and returned an array of "
            f"shape {half.shape}, expected ({count}, {embedder.dimension})."
        )
    if not np.isfinite(half).all():
        raise StoreError(
            f"The encoder {embedder.name!r} returned vectors that hold NaN or infinity."
        )
    return half
