"""LadybugDB: an embedded graph database with tables of nodes and of relations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import ladybug

from kblam.errors import IncompleteSourceError, SourceError
from kblam.knowledge import Triple
from kblam_integrations.sources._graph_facts import called, edge_facts, node_facts
from kblam_integrations.sources._held import held
from kblam_integrations.sources._values import text_of

__all__ = ["LadybugSource", "source_of"]

_NAMES = ("name", "title", "label")
_PAGE = 10_000  # rows, so that a large table is never held as a whole
_Row = dict[str, Any]


@dataclass(slots=True)
class _Nodes:
    """What was read of the nodes: names and primary keys by internal identifier."""

    names: dict[tuple[int, int], str] = field(default_factory=dict)
    keys: dict[tuple[int, int], Any] = field(default_factory=dict)


class LadybugSource:
    """The facts of a LadybugDB database.

    ============================  ===================================================
    in the database               as a fact
    ============================  ===================================================
    a relation                    (its first node, its table, its second node)
    a property of a node          (the node's name, the property, its value)
    the table of a node           (the node's name, ``type``, the table)
    a property of a relation      (``Ann works at Acme``, the property, its value)
    ============================  ===================================================

    A node is called by its property ``name``, ``title`` or ``label``, in this order, else by
    its primary key. Where the two differ, the fact's metadata have the keys (``subject``,
    ``object``). Vectors (properties called ``embedding``, or 32 numbers and more) are no facts.

    Everything is read page by page in one read-only transaction, from a connection of its own:
    what others write meanwhile is in the next reading.

    Args:
        database: A ``ladybug.Database``, or a ``ladybug.Connection`` to one; is only read.
        name: The property that names a node, or several in order of preference; they are tried
            before the above.
        timeout: Seconds that one query may take.
    """

    def __init__(
        self,
        database: ladybug.Database | ladybug.Connection,
        *,
        name: str | Sequence[str] = (),
        timeout: float = 60.0,
    ) -> None:
        held = database.database if isinstance(database, ladybug.Connection) else database
        self._database: ladybug.Database = held
        self._names = ((name,) if isinstance(name, str) else tuple(name)) + _NAMES
        self._timeout = timeout

    def triples(self) -> Iterator[Triple]:
        """Read every fact: first the nodes' properties, then the relations.

        Raises:
            IncompleteSourceError: A table gave fewer rows than it says it has.
            SourceError: The database is closed, or a query failed or took too long.
        """
        with self._reading() as connection:
            tables = _rows(connection, "CALL show_tables() RETURN name, type")
            nodes = _Nodes()
            for table in sorted(row["name"] for row in tables if row["type"] == "NODE"):
                yield from self._node_facts(connection, table, nodes)
            for table in sorted(row["name"] for row in tables if row["type"] == "REL"):
                yield from self._edge_facts(connection, table, nodes)

    def count(self) -> int:
        """Return about how many facts there are: the nodes and the relations.

        Raises:
            SourceError: As for :meth:`triples`.
        """
        with self._reading() as connection:
            tables = _rows(connection, "CALL show_tables() RETURN type")
            kinds = {row["type"] for row in tables}
            total = 0
            if "NODE" in kinds:
                total += _rows(connection, "MATCH (n) RETURN count(n) AS n")[0]["n"]
            if "REL" in kinds:
                total += _rows(connection, "MATCH ()-[r]->() RETURN count(r) AS n")[0]["n"]
        return total

    def _node_facts(
        self, connection: ladybug.Connection, table: str, nodes: _Nodes
    ) -> Iterator[Triple]:
        columns = _rows(connection, f"CALL table_info({_literal(table)}) RETURN *")
        primary = next(str(row["name"]) for row in columns if row["primary key"])
        for row in _pages(connection, f"(a:{_quoted(table)})", f"nodes of {table}", "a AS row"):
            node: _Row = row["row"]
            internal = (node["_ID"]["table"], node["_ID"]["offset"])
            key, name = called(node, self._names) or (primary, text_of(node[primary]))
            nodes.names[internal] = name
            if text_of(node[primary]) != name:
                nodes.keys[internal] = _json(node[primary])
            others = {k: v for k, v in node.items() if k != key}
            yield from node_facts(name, [table], others, _origin(nodes, subject=internal))

    def _edge_facts(
        self, connection: ladybug.Connection, table: str, nodes: _Nodes
    ) -> Iterator[Triple]:
        ends = _rows(connection, f"CALL show_connection({_literal(table)}) RETURN *")
        for one, two in sorted(
            (row["source table name"], row["destination table name"]) for row in ends
        ):
            pattern = f"(a:{_quoted(one)})-[r:{_quoted(table)}]->(b:{_quoted(two)})"
            for row in _pages(connection, pattern, f"relations {table}", "r AS row"):
                edge: _Row = row["row"]
                first, second = (
                    (edge[end]["table"], edge[end]["offset"]) for end in ("_SRC", "_DST")
                )
                metadata = _origin(nodes, subject=first, object=second)
                yield from edge_facts(
                    nodes.names[first], table, nodes.names[second], edge, metadata
                )

    @contextmanager
    def _reading(self) -> Iterator[ladybug.Connection]:
        """Open a transaction that sees the database as it is now.

        Raises:
            SourceError: Whatever is read within failed.
        """
        connection = None
        try:
            connection = ladybug.Connection(self._database)
            connection.set_query_timeout(max(1, round(self._timeout * 1000)))
            connection.execute("BEGIN TRANSACTION READ ONLY")
            yield connection
        except RuntimeError as error:  # the only kind that the database raises
            said = str(error).split("\n", 1)[0]
            raise SourceError(
                f"Expected facts from a LadybugDB database, got: {said:.300} See that it is open, "
                f"and that {self._timeout:g} seconds are enough for one query (timeout=)."
            ) from error
        finally:
            if connection is not None:
                connection.close()


def _pages(connection: ladybug.Connection, pattern: str, what: str, wanted: str) -> Iterator[_Row]:
    """Yield what matches a pattern, by ranges of the internal offsets of its node ``a``.

    Raises:
        IncompleteSourceError: It was less than the database counts.
    """
    query = f"MATCH {pattern} RETURN count(*) AS total, max(offset(id(a))) AS last"
    (size,) = _rows(connection, query)
    read = 0
    query = f"MATCH {pattern} WHERE offset(id(a)) >= $low AND offset(id(a)) < $high RETURN {wanted}"
    for first in range(0, (-1 if size["last"] is None else size["last"]) + 1, _PAGE):
        rows = _rows(connection, query, {"low": first, "high": first + _PAGE})
        read += len(rows)
        yield from rows
    if read != size["total"]:
        raise IncompleteSourceError(
            f"Expected {size['total']} {what}, which is what the database counts, got {read}. "
            "Check the database's integrity before you rely on it."
        )


def _rows(
    connection: ladybug.Connection, query: str, parameters: Mapping[str, Any] | None = None
) -> list[_Row]:
    found = connection.execute(query, dict(parameters or {}))
    # A list is what several queries at once would give.
    with found[0] if isinstance(found, list) else found as result:
        return [row for row in result.rows_as_dict() if isinstance(row, dict)]


def _origin(nodes: _Nodes, **ends: tuple[int, int]) -> dict[str, Any]:
    """Return the primary keys of the nodes that are called otherwise."""
    return {part: nodes.keys[end] for part, end in ends.items() if end in nodes.keys}


def _json(key: Any) -> Any:
    return key if isinstance(key, (bool, int, str)) else text_of(key)


# Tables cannot be parameters. Their names come from the database itself.
def _quoted(table: str) -> str:
    return "`" + table.replace("`", "``") + "`"


def _literal(table: str) -> str:
    return "'" + table.replace("\\", "\\\\").replace("'", "\\'") + "'"


def source_of(kb: Any) -> LadybugSource | None:
    """Return the source of a LadybugDB database or of a connection to one, also a wrapped one."""
    attributes = ("connection", "conn", "client", "db")
    found = held(kb, ladybug.Connection, *attributes) or held(kb, ladybug.Database, *attributes)
    return None if found is None else LadybugSource(found)
