"""Reading and writing the rows of facts. Every function runs inside the caller's transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Collection, Iterable
from hashlib import blake2b
from typing import Any

from kblam.errors import FactError, StoreCorruptError
from kblam.knowledge._parameters import may_be_stored
from kblam.knowledge._words import property_key
from kblam.knowledge.triple import Fact, Triple
from kblam.knowledge.view import VIEW_CLAUSE, View, view_parameters

__all__ = [
    "COLUMNS",
    "add",
    "content_columns",
    "facts_page",
    "get",
    "insert",
    "metadata_json",
    "new_fact",
    "remove",
    "replace_named",
    "text_hash",
    "update",
    "upsert",
]

COLUMNS = "id, entity, property, value, metadata"

_INSERT = """
INSERT OR IGNORE INTO facts
    (id, entity, property, value, metadata, key_text, value_text, digest, row)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_UPDATE = """
UPDATE facts
SET entity = ?, property = ?, value = ?, metadata = ?, key_text = ?, value_text = ?, digest = ?
WHERE id = ?
"""
_BY_CONTENT = f"SELECT {COLUMNS} FROM facts WHERE entity = ? AND property = ? AND value = ?"
_BY_ID = f"SELECT {COLUMNS} FROM facts WHERE id = ?"
_ROW = "SELECT row FROM facts WHERE id = ?"
_CLEAR = """
DELETE FROM facts WHERE id = ? OR (entity = ? AND property = ? AND value = ?)
"""
_BY_KEY = f"SELECT {COLUMNS} FROM facts WHERE key_text = ? AND entity = ? ORDER BY row"
_PAGE = f"""
SELECT row, {COLUMNS} FROM facts
WHERE row > :after AND ({VIEW_CLAUSE}) ORDER BY row LIMIT :limit
"""


def text_hash(text: str) -> int:
    """Return the 63 bits by which a text's vector is found."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def new_fact(row: Iterable[Any]) -> Fact:
    """Make a fact of a row of :data:`COLUMNS`.

    Raises:
        StoreCorruptError: It says no fact.
    """
    identifier, entity, name, value, metadata = row
    try:
        about = {} if metadata == "{}" else json.loads(metadata)
        return Fact(entity, name, value, identifier, about)
    except (ValueError, TypeError, RecursionError) as error:  # a FactError is a ValueError
        raise StoreCorruptError(
            f"The store's fact {identifier!r:.100} is damaged: {error}. Restore the store from a "
            "copy, or build it anew from its triples."
        ) from error


def metadata_json(triple: Triple) -> str:
    """Return the metadata as a store writes it: one text for equal metadata."""
    if not triple.metadata:
        return "{}"
    return json.dumps(triple.metadata, sort_keys=True, ensure_ascii=False)


def get(connection: sqlite3.Connection, identifier: str) -> Fact | None:
    """Return the fact with this identifier."""
    if not may_be_stored(identifier):
        return None
    row = connection.execute(_BY_ID, (identifier,)).fetchone()
    return None if row is None else new_fact(row)


def facts_page(
    connection: sqlite3.Connection, view: View | None, after: int, limit: int
) -> list[tuple[Any, ...]]:
    """Return up to ``limit`` rows (row, *COLUMNS) of a view that follow the row ``after``."""
    parameters = {**view_parameters(view), "after": after, "limit": limit}
    return connection.execute(_PAGE, parameters).fetchall()


def add(connection: sqlite3.Connection, triples: Iterable[Triple]) -> int:
    """Insert what is not there yet; see ``KnowledgeStore.add``."""
    return sum(insert(connection, triple) for triple in triples)


def insert(
    connection: sqlite3.Connection,
    triple: Triple,
    row: int | None = None,
    wanted: Callable[[str], bool] = lambda _: False,
) -> bool:
    """Insert one triple, unless a fact says the same already.

    Args:
        connection: Inside a write transaction.
        triple: With or without an identifier.
        row: The row to take again, where a fact is replaced in its place.
        wanted: Tells which identifiers other triples have, that come later.

    Returns:
        Whether it was inserted.

    Raises:
        FactError: The identifier is taken by a fact that says something else.
    """
    for attempt in range(100):
        identifier = triple.id or _derived_id(triple, attempt)
        if not triple.id and wanted(identifier):
            continue
        values = (identifier, *content_columns(identifier, triple), row)
        if connection.execute(_INSERT, values).rowcount:
            return True
        if _same_content(connection, triple) is not None:
            return False
        if triple.id:
            break
        # A fact with the derived identifier was changed since; the next one is taken.
    taken = get(connection, identifier)
    raise FactError(
        f"The fact id {identifier!r} is taken by {_shown(taken)}; it cannot also name "
        f"{_shown(triple)}. Use upsert to replace the fact, or another id."
    )


def upsert(connection: sqlite3.Connection, triples: Iterable[Triple]) -> int:
    """Insert or replace; see ``KnowledgeStore.upsert``."""
    groups: dict[tuple[str, str], dict[str, Triple]] = {}
    named: dict[str, Triple] = {}
    for triple in triples:
        if triple.id:
            named[triple.id] = triple
        else:
            key = (triple.entity, property_key(triple.property))
            groups.setdefault(key, {})[triple.value] = triple
    # Those with identifiers first: what they say is no value that the others replace.
    written = replace_named(connection, named.values())
    return written + sum(_replace_values(connection, group, named) for group in groups.values())


def replace_named(connection: sqlite3.Connection, triples: Iterable[Triple]) -> int:
    """Make each triple with an identifier the fact of that name."""
    written = 0
    crossing: list[Triple] = []
    for triple in triples:
        old = get(connection, triple.id or "")
        same = _same_content(connection, triple)
        if same is not None and same.id == triple.id:
            written += _update_changed(connection, same, triple)
        elif same is not None:
            crossing.append(triple)
        elif old is not None:
            update(connection, old.id, triple)
            written += 1
        else:
            written += insert(connection, triple)
    # What is left takes the content of another fact, which may be about to change as well
    # (two facts swap their values). Clear them all before any is written.
    rows = [connection.execute(_ROW, (triple.id,)).fetchone() for triple in crossing]
    for triple in crossing:
        connection.execute(_CLEAR, (triple.id, triple.entity, triple.property, triple.value))
    for triple, row in zip(crossing, rows, strict=True):
        insert(connection, triple, row and row[0])
    return written + len(crossing)


def remove(
    connection: sqlite3.Connection,
    identifier: str | None,
    entity: str | None,
    name: str | None,
) -> int:
    """Delete the facts for which all that is given holds."""
    if not may_be_stored(identifier, entity, name):
        return 0
    return connection.execute(
        """
        DELETE FROM facts
        WHERE row IN (
            SELECT row FROM facts WHERE id = :id
            UNION ALL SELECT row FROM facts WHERE :id IS NULL AND entity = :entity
            UNION ALL SELECT row FROM facts WHERE :id IS NULL AND :entity IS NULL
                AND property = :property
        )
        AND (:entity IS NULL OR entity = :entity)
        AND (:property IS NULL OR property = :property)
        """,
        {"id": identifier, "entity": entity, "property": name},
    ).rowcount


def _replace_values(
    connection: sqlite3.Connection, new: dict[str, Triple], named: Collection[str]
) -> int:
    """Make ``new``, by value, all values of a property of an entity but those of named facts."""
    there = _of_property(connection, next(iter(new.values())))
    told = {fact.value for fact in there if fact.id in named}
    new = {value: triple for value, triple in new.items() if value not in told}
    old = [fact for fact in there if fact.id not in named]
    kept: dict[str, Fact] = {}
    for fact in old:
        # Of one value under two spellings of the property, the fact that is spelled as the triple.
        triple = new.get(fact.value)
        if triple and (fact.value not in kept or fact.property == triple.property):
            kept[fact.value] = fact
    written = sum(_update_changed(connection, fact, new[value]) for value, fact in kept.items())
    outdated = [fact for fact in old if kept.get(fact.value) is not fact]
    missing = [triple for value, triple in new.items() if value not in kept]
    # A changed value keeps its fact's identifier and place.
    for fact, triple in zip(outdated, missing, strict=False):
        update(connection, fact.id, triple)
    for fact in outdated[len(missing) :]:
        remove(connection, fact.id, None, None)
    for triple in missing[len(outdated) :]:
        insert(connection, triple)
    return written + max(len(missing), len(outdated))


def _of_property(connection: sqlite3.Connection, triple: Triple) -> list[Fact]:
    """Return the facts about a triple's property of its entity, however that is spelled."""
    rows = connection.execute(_BY_KEY, (text_hash(triple.key_text), triple.entity))
    key = property_key(triple.property)
    return [fact for fact in map(new_fact, rows) if property_key(fact.property) == key]


def _update_changed(connection: sqlite3.Connection, fact: Fact, triple: Triple) -> bool:
    """Update a fact of a triple's entity and value, if its property or metadata are others."""
    if fact.property == triple.property and metadata_json(fact) == metadata_json(triple):
        return False
    update(connection, fact.id, triple)
    return True


def update(connection: sqlite3.Connection, identifier: str, triple: Triple) -> None:
    """Replace the fact of this identifier; no other fact may say the same."""
    connection.execute(_UPDATE, (*content_columns(identifier, triple), identifier))


def _same_content(connection: sqlite3.Connection, triple: Triple) -> Fact | None:
    parts = (triple.entity, triple.property, triple.value)
    row = connection.execute(_BY_CONTENT, parts).fetchone()
    return None if row is None else new_fact(row)


def content_columns(identifier: str, triple: Triple) -> tuple[str | int, ...]:
    """Return the values of the columns from entity to digest: parts, metadata, three hashes."""
    metadata = metadata_json(triple)
    parts = (triple.entity, triple.property, triple.value, metadata)
    # 62 bits: the exclusive or in the schema needs one bit more than the digest has.
    digest = text_hash("\x00".join((identifier, *parts))) >> 1
    return (*parts, text_hash(triple.key_text), text_hash(triple.value_text), digest)


def _derived_id(triple: Triple, attempt: int) -> str:
    parts = [triple.entity, triple.property, triple.value]
    if attempt:
        parts.append(str(attempt))
    return blake2b("\x00".join(parts).encode(), digest_size=8).hexdigest()


def _shown(triple: Triple | None) -> str:
    return "nothing" if triple is None else str((triple.entity, triple.property, triple.value))
