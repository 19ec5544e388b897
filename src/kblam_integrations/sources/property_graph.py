"""Any other of LlamaIndex's property graph stores, through what all of them can do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from kblam.errors import IncompleteSourceError, SourceError, without_credentials
from kblam.knowledge import Triple
from kblam_integrations.sources._graph_facts import (
    SOURCE,
    edge_facts,
    node_facts,
    own_properties,
    source_metadata,
)

if TYPE_CHECKING:
    from llama_index.core.graph_stores.types import LabelledNode, PropertyGraphStore, Relation

__all__ = ["PropertyGraphSource"]

_T = TypeVar("_T")
# At which stores like to cut what they return. A list as long as that may have been longer.
_LIMITS = frozenset({100, 1_000, 10_000, 100_000})
# What links entities to chunks of text; not every store returns such relations.
_TO_TEXTS = ("MENTIONS", "SOURCE")
_NODE_COUNT = "MATCH (n) RETURN count(n) AS n"
_EDGE_COUNT = "MATCH ()-[r]->() WHERE NOT type(r) IN $types RETURN count(r) AS n"
_Edge = tuple[str, str, str, str]  # two ends' ids, label, properties as text


class PropertyGraphSource:
    """The facts of a LlamaIndex ``PropertyGraphStore`` of any class.

    They are the same facts as :class:`SimplePropertyGraphSource` gives. Prefer the sources for
    the database behind the store (:class:`CypherSource`, :class:`LadybugSource`), which
    ``as_store`` chooses where it can: they read more quickly.

    Such stores have no way to ask for everything, and many cut what they return at 100 without
    a word. So the nodes are listed, the relations of each node are asked for by themselves, and
    what comes is compared: with the store's own counts where it understands Cypher, and the
    answers with each other. Takes one call for each node.

    Args:
        store: Is only read.
    """

    def __init__(self, store: PropertyGraphStore) -> None:
        self._store = store

    def triples(self) -> Iterator[Triple]:
        """Read every fact: first the entities' properties, then the relations.

        Raises:
            IncompleteSourceError: The store gave less than it has, or what may be less.
            SourceError: The store cannot list its nodes, or failed.
        """
        nodes = self._nodes()
        edges = self._edges(nodes)
        for node in nodes.values():
            if not _is_chunk(node):
                yield from _node_facts(nodes, node)
        for key in sorted(edges):
            yield from _edge_facts(nodes, key, edges[key])

    def count(self) -> None:
        """Return None: to count the facts is to read them."""
        return

    def _nodes(self) -> dict[str, LabelledNode]:
        found = self._ask(self._store.get)
        nodes = {node.id: node for node in sorted(found, key=lambda node: str(node.id))}
        counted = self._counted(_NODE_COUNT)
        if counted is None and not nodes:
            raise SourceError(
                f"Expected nodes from a {self._kind}, got none, as from one that is empty and "
                "from one that cannot list them. If it is empty, fill it first."
            )
        if counted is None and len(found) in _LIMITS:
            raise self._incomplete(f"more than {len(found)} nodes (it may cut there)", len(nodes))
        if counted is not None and len(nodes) < counted:
            raise self._incomplete(f"{counted} nodes", len(nodes))
        return nodes

    def _edges(self, nodes: dict[str, LabelledNode]) -> dict[_Edge, Relation]:
        edges: dict[_Edge, Relation] = {}
        asked: dict[str, set[_Edge]] = {}
        for identifier in nodes:
            answer = self._ask(partial(self._store.get_triplets, ids=[identifier]))
            if len(answer) in _LIMITS:
                expected = f"more than {len(answer)} relations of {identifier!r} (it may cut there)"
                raise self._incomplete(expected, len(answer))
            for start, relation, end in answer:
                for node in (start, end):
                    if node.id not in nodes and not _is_chunk(node):
                        raise self._incomplete(f"{node.id!r}, which is related", len(nodes))
                key = (start.id, relation.label, end.id, repr(relation.properties))
                edges[key] = relation
                asked.setdefault(identifier, set()).add(key)
        self._compare(edges, asked)
        found = sum(key[1] not in _TO_TEXTS for key in edges)
        counted = self._counted(_EDGE_COUNT, types=list(_TO_TEXTS))
        if counted is not None and found < counted:
            raise self._incomplete(f"{counted} relations", found)
        return edges

    def _compare(self, edges: dict[_Edge, Relation], asked: dict[str, set[_Edge]]) -> None:
        """Find answers that were cut: what others say of a node, it must have said itself."""
        known: dict[str, set[_Edge]] = {}
        for edge in edges:
            known.setdefault(edge[0], set()).add(edge)
        for identifier, mine in known.items():
            said = asked.get(identifier, set())
            if not mine <= said:
                expected = f"{len(mine | said)} relations of {identifier!r}"
                raise self._incomplete(expected, len(said))

    def _incomplete(self, expected: str, got: int) -> IncompleteSourceError:
        return IncompleteSourceError(
            f"Expected {expected} from a {self._kind}, got {got}. Read the database behind it by "
            "a source of its own."
        )

    def _counted(self, query: str, **parameters: Any) -> int | None:
        """Return a number from the database, None from a store that does not speak Cypher."""
        if not self._store.supports_structured_queries:
            return None
        try:
            answer = self._store.structured_query(query, parameters)
            row = answer[0]
            number = next(iter(row.values())) if isinstance(row, dict) else row[0]
        except Exception:  # each store has errors of its own for a language it does not know
            return None
        return number if isinstance(number, int) else None

    def _ask(self, ask: Callable[[], list[_T]]) -> list[_T]:
        try:
            return list(ask() or ())
        except Exception as error:  # of whatever client the store uses
            said = without_credentials(str(error).split("\n", 1)[0])
            raise SourceError(
                f"Expected the nodes and relations of a {self._kind}, got "
                f"{type(error).__name__}: {said:.300}. See that its database can be reached."
            ) from None  # the error itself may name user and password

    @property
    def _kind(self) -> str:
        return type(self._store).__name__


def _node_facts(nodes: dict[str, LabelledNode], node: LabelledNode) -> Iterator[Triple]:
    name = _name(node)
    own = _own(nodes, node.properties)
    # Some stores give the name among the properties once more.
    own = {k: v for k, v in own.items() if not (k in ("id", "name") and v in (name, node.id))}
    return node_facts(name, [node.label], own, source_metadata(node.properties))


def _edge_facts(nodes: dict[str, LabelledNode], key: _Edge, edge: Relation) -> Iterator[Triple]:
    # By the nodes' ids: the ends that a relation names are names in some stores.
    start, end = nodes.get(key[0]), nodes.get(key[2])
    if start is None or end is None or _is_chunk(start) or _is_chunk(end):
        return iter(())
    own, metadata = _own(nodes, edge.properties), source_metadata(edge.properties)
    return edge_facts(_name(start), edge.label, _name(end), own, metadata)


def _own(nodes: dict[str, LabelledNode], properties: dict[str, Any]) -> dict[str, Any]:
    chunk = nodes.get(properties.get(SOURCE, ""))
    return own_properties(properties, {} if chunk is None else chunk.properties)


def _name(node: LabelledNode) -> str:
    return str(getattr(node, "name", "") or node.id).strip()


def _is_chunk(node: LabelledNode) -> bool:
    return hasattr(node, "text")
