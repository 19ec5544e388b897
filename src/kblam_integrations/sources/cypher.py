"""Databases that speak Cypher over Bolt: Neo4j, Memgraph, ArcadeDB and others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import neo4j

from kblam.errors import IncompleteSourceError
from kblam.knowledge import Triple
from kblam_integrations.sources._bolt import Server, bolt_errors
from kblam_integrations.sources._cypher_nodes import Node, Relation, plain
from kblam_integrations.sources._graph_facts import (
    SOURCE,
    edge_facts,
    node_facts,
    source_metadata,
)
from kblam_integrations.sources._held import held
from kblam_integrations.sources._silence import heard
from kblam_integrations.sources._values import is_embedding

__all__ = ["CypherSource", "source_of"]

_NODES, _RELATIONS = "MATCH (n) RETURN n", "MATCH ()-[r]->() RETURN r"
_NODE_COUNT = "MATCH (n) RETURN count(n) AS n"
_RELATION_COUNT = "MATCH ()-[r]->() RETURN count(r) AS n"
_PAGE = 1000  # records that the server sends at a time
_TRIES = 3  # readings while others write


@dataclass(slots=True)
class _Graph:
    """What one reading found, and the counts of nodes and relations before and after it."""

    nodes: dict[str, Node] = field(default_factory=dict)
    relations: dict[str, Relation] = field(default_factory=dict)
    counts: list[tuple[int, int]] = field(default_factory=list)

    @property
    def found(self) -> tuple[int, int]:
        return len(self.nodes), len(self.relations)


class CypherSource:
    """The facts of a graph database that speaks Cypher over Bolt.

    ============================  ===================================================
    in the graph                  as a fact
    ============================  ===================================================
    a relation                    (its first node's name, its type, its second node's)
    a property of a node          (the node's name, the property, its value)
    a label of a node             (the node's name, ``type``, the label)
    a property of a relation      (``Ann works at Acme``, the property, its value)
    ============================  ===================================================

    A node is called by its property ``name``, ``title`` or ``label``, else by one whose name
    ends in "name" (``companyName``), else by ``id``, ``uuid``, ``key``, ``code`` or whatever
    ends in "id", else by its label and its identifier in the database. Vectors are no facts;
    neither are the chunks of text that LlamaIndex and LangChain keep in such databases, and
    what links entities to them.

    Everything is read in the pages that Bolt has of its own, and compared with the database's
    counts before and after; APOC is not needed. The facts' metadata have the chunk that
    LlamaIndex found them in (``source``).

    Args:
        driver_or_uri: A ``neo4j.Driver``, which its owner closes, or a URI such as
            ``bolt://localhost:7687``, to which each reading connects anew.
        auth: For a URI: user and password, or what else ``neo4j.GraphDatabase.driver`` takes.
        database: The database's name; None for the server's default.
        name: The property that names a node, or several in order of preference; they are tried
            before the above.
        timeout: Seconds that the server may keep silent.

    Raises:
        SourceError: The URI is none.
    """

    def __init__(
        self,
        driver_or_uri: neo4j.Driver | str,
        *,
        auth: Any = None,
        database: str | None = None,
        name: str | Sequence[str] = (),
        timeout: float = 60.0,
    ) -> None:
        self._server = Server(driver_or_uri, auth, timeout)
        self._database = database
        self._names = (name,) if isinstance(name, str) else tuple(name)
        self._timeout = timeout

    def __repr__(self) -> str:
        return f"CypherSource({str(self._server)!r}, database={self._database!r})"

    def triples(self) -> Iterator[Triple]:
        """Read every fact: first the nodes' properties, then the relations.

        Raises:
            IncompleteSourceError: The server gave less than it counts.
            SourceError: It cannot be reached, refuses, or kept silent for too long.
        """
        graph = self._read()
        texts = {
            str(node.properties.get("id", "")): node.properties
            for node in graph.nodes.values()
            if node.is_text
        }
        names: dict[str, str] = {}
        # Sorted, so that the same facts come first however the server stores them.
        for key, node in sorted(graph.nodes.items()):
            if node.is_text or node.is_hidden:
                continue
            name = node.called(self._names)
            names[key] = name[1]
            found_in = texts.get(str(node.properties.get(SOURCE, "")), {})
            metadata = source_metadata(node.properties)
            yield from node_facts(name[1], node.types, node.others(name, found_in), metadata)
        for _, relation in sorted(graph.relations.items()):
            start = graph.nodes.get(relation.start)
            if start and start.is_implied and relation.label == "MENTIONS":
                continue  # from a chunk of text that LlamaIndex did not store
            found_in = texts.get(str(relation.properties.get(SOURCE, "")), {})
            yield from edge_facts(
                # "" for what is no entity, of which nothing is said.
                names.get(relation.start, ""),
                relation.label,
                names.get(relation.end, ""),
                relation.others(found_in),
                source_metadata(relation.properties),
            )

    def count(self) -> int:
        """Return about how many facts there are: the nodes and the relations.

        Raises:
            SourceError: As for :meth:`triples`.
        """
        with bolt_errors(self._server):
            # To its end: until then the connection belongs to the thread that reads.
            (counts,) = heard(self._counts, self._timeout)
            return sum(counts)

    def _counts(self) -> Iterator[tuple[int, int]]:
        with self._transaction() as transaction:
            yield _count(transaction)

    def _read(self) -> _Graph:
        with bolt_errors(self._server):
            for _ in range(_TRIES):
                graph = _Graph()
                for part in heard(self._parts, self._timeout):
                    if isinstance(part, tuple):
                        graph.counts.append(part)
                        continue
                    for item in part:
                        if isinstance(item, Node):
                            graph.nodes[item.key] = item
                        else:
                            graph.relations[item.key] = item
                if graph.counts == [graph.found] * 2:
                    return graph
        self._check(graph)
        return graph

    def _check(self, graph: _Graph) -> None:
        """Take a reading under writers that never rest for what it is, unless it is cut."""
        for kind, found, *counted in zip(
            ("nodes", "relations"), graph.found, *graph.counts, strict=True
        ):
            if found < min(counted):
                raise IncompleteSourceError(
                    f"Expected {min(counted)} {kind} from {self._server}, which is what it counts, "
                    f"got {found}. Raise the limit of rows that the server sends, or let nobody "
                    "write meanwhile."
                )

    def _parts(self) -> Iterator[tuple[int, int] | list[Node | Relation]]:
        """Yield counts of nodes and relations, then pages of them, then the counts again."""
        with self._transaction() as transaction:
            yield _count(transaction)
            records = iter(transaction.run(_NODES))
            while page := [_node(record["n"]) for record in islice(records, _PAGE)]:
                yield list(page)
            records = iter(transaction.run(_RELATIONS))
            while edges := [_relation(record["r"]) for record in islice(records, _PAGE)]:
                yield list(edges)
            yield _count(transaction)

    @contextmanager
    def _transaction(self) -> Iterator[neo4j.Transaction]:
        with (
            self._server.driver() as driver,
            driver.session(
                database=self._database,
                default_access_mode=neo4j.READ_ACCESS,
                fetch_size=_PAGE,
            ) as session,
            # Not by execute_read, which tries again for half a minute what failed.
            session.begin_transaction() as transaction,
        ):
            yield transaction


def _count(transaction: neo4j.Transaction) -> tuple[int, int]:
    nodes, relations = (
        int(transaction.run(query).single(strict=True)["n"])
        for query in (_NODE_COUNT, _RELATION_COUNT)
    )
    return nodes, relations


def _node(node: Any) -> Node:
    return Node(node.element_id, tuple(sorted(node.labels)), _properties(node))


def _relation(edge: Any) -> Relation:
    start, end = (node.element_id for node in edge.nodes)
    return Relation(edge.element_id, edge.type, start, end, _properties(edge))


def _properties(item: Any) -> dict[str, Any]:
    # Embeddings would take more memory than all the rest.
    return {key: plain(value) for key, value in item.items() if not is_embedding(key, value)}


def source_of(kb: Any) -> CypherSource | None:
    """Return the source of a driver, or of a graph of LangChain's or LlamaIndex's over one."""
    driver = held(kb, neo4j.Driver, "_driver", "driver", "client")
    if driver is None:
        return None
    database = held(kb, str, "_database", "database")
    return CypherSource(driver, database=database)
