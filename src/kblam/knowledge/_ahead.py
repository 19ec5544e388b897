"""Vectors for facts that are about to be written, so that no reader has to wait for them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable
from itertools import islice

from kblam.knowledge._database import Database
from kblam.knowledge._encode import ADVANCE, INSERT_VECTOR, checked, encoder_number
from kblam.knowledge._layout import Layout
from kblam.knowledge._rows import text_hash
from kblam.knowledge._schema import read_form
from kblam.knowledge._stage import Stage, Stopped
from kblam.knowledge._state import State
from kblam.knowledge._vector_rows import SOME_EMBEDDINGS
from kblam.knowledge.protocols import TextEmbedder
from kblam.knowledge.triple import Triple

__all__ = ["embed_ahead", "write_vectors"]

# Facts embedded at a time: whoever asks meanwhile waits for the encoder no longer than that.
_BATCH = 64


def embed_ahead(
    database: Database,
    stage: Stage,
    triples: Iterable[Triple],
    embedder: TextEmbedder,
    stopped: Callable[[], bool],
) -> int:
    """Embed facts that a store is about to have, outside of any transaction.

    Args:
        database: The store.
        stage: Is given every vector that the facts need: one that the store has of a text goes
            with the last fact that has the text, which may be before the next one comes.
        triples: The facts.
        embedder: Embeds their texts.
        stopped: Asked before each batch.

    Returns:
        How many facts lacked vectors.

    Raises:
        Stopped: ``stopped`` said so.
        StoreError: The encoder's vectors have the wrong shape, or are not finite.
    """
    encoder, _ = encoder_number(database, embedder)
    lacking = 0
    left = iter(triples)
    while batch := list(islice(left, _BATCH)):
        if stopped():
            raise Stopped
        pairs = [(triple.key_text, triple.value_text) for triple in batch]
        texts = {text_hash(text): text for pair in pairs for text in pair}
        with database.read() as connection:
            parameters = {"texts": json.dumps(list(texts)), "encoder": encoder}
            form = read_form(connection)
            held = dict(connection.execute(SOME_EMBEDDINGS, parameters).fetchall())
        missing = {hashed: text for hashed, text in texts.items() if hashed not in held}
        lacking += sum(not missing.keys().isdisjoint(map(text_hash, pair)) for pair in pairs)
        if missing:
            vectors = checked(embedder, embedder.encode(list(missing.values())), len(missing))
            rows = Layout(form, embedder.dimension).packed(vectors)
            packed = zip(missing, (row.tobytes() for row in rows), strict=True)
            stage.keep_vectors(encoder, form, packed)
        stage.keep_vectors(encoder, form, held.items())
    return lacking


def write_vectors(
    connection: sqlite3.Connection, stage: Stage, before: State | None, now: State
) -> None:
    """Write the vectors that were made ahead, after their facts, in the same transaction.

    Args:
        connection: Inside the write transaction.
        stage: Has the vectors.
        before: The state that they were made for; None where the store is another by now.
        now: The state after the facts were written.
    """
    encoders = set()
    now_form = read_form(connection)
    for encoder, text, form, vector in stage.vectors():
        if form != now_form:
            before = None  # the store was converted meanwhile: what is left out is embedded later
            continue
        encoders.add(encoder)
        connection.execute(INSERT_VECTOR, {"encoder": encoder, "text": text, "vector": vector})
    if before is None:
        return
    for encoder in encoders:
        # Where every fact had vectors before, every fact has them now.
        query = "SELECT through FROM encoders WHERE encoder = ?"
        if connection.execute(query, (encoder,)).fetchone() == (before.sequence,):
            connection.execute(ADVANCE, {"encoder": encoder, "through": now.sequence})
