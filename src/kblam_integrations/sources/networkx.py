"""NetworkX graphs of every kind, and what LangChain wraps around one."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import networkx as nx

from kblam.knowledge import Triple
from kblam_integrations.sources._graph_facts import called, edge_facts, node_facts
from kblam_integrations.sources._held import held
from kblam_integrations.sources._moments import one_moment, undisturbed
from kblam_integrations.sources._values import fingerprint, text_of

__all__ = ["NetworkxSource", "source_of"]

_RELATIONS = ("relation", "label", "type", "predicate")


class _Graph(NamedTuple):
    """What a graph held at one moment."""

    nodes: list[tuple[Any, dict[Any, Any]]]
    edges: list[tuple[Any, Any, Any, dict[Any, Any]]]  # two ends, key, attributes


class NetworkxSource:
    """The facts of a NetworkX graph, directed or not, with parallel edges or without.

    ============================  ===================================================
    in the graph                  as a fact
    ============================  ===================================================
    an edge                       (its first node, what relates them, its second node)
    an attribute of a node        (the node's name, the attribute, its value)
    an attribute of an edge       (``Ann works at Acme``, the attribute, its value)
    ============================  ===================================================

    An edge of an undirected graph is two facts, one from either end, for it says the same of
    both. What relates two nodes is, in this order, an attribute of the edge (see ``relation``),
    the key of an edge in a multigraph where that is a text, or ``unnamed``.

    A node is called by its attribute ``name``, else by itself where it is a text, else by its
    attribute ``label`` or ``title``, else by itself as text. Where it is called otherwise than
    by itself, the fact's metadata have the nodes (``subject``, ``object``).

    To ask whether the graph changed takes one pass over it: about 20 ms for 10,000 edges.
    Another thread may change it meanwhile.

    Args:
        graph: Is only read.
        name: The attribute that names a node, or several in order of preference; they are
            tried before the above.
        relation: The attribute that says what relates two nodes, or several.
        unnamed: What relates two nodes where the graph does not say.
    """

    def __init__(
        self,
        graph: nx.Graph[Any],
        *,
        name: str | Sequence[str] = (),
        relation: str | Sequence[str] = _RELATIONS,
        unnamed: str = "related to",
    ) -> None:
        self._graph = graph
        self._names = (name,) if isinstance(name, str) else tuple(name)
        self._relations = (relation,) if isinstance(relation, str) else tuple(relation)
        self._unnamed = unnamed

    def triples(self) -> Iterator[Triple]:
        """Read every fact: first the nodes' attributes, then the edges.

        Raises:
            StoreError: The graph changed during every one of several tries.
        """
        return iter(one_moment(self._facts, self.state))

    def count(self) -> int:
        """Return about how many facts there are: edges, attributes of nodes and of edges."""
        graph = undisturbed(self._copy)
        named = sum(len(attributes) for _, attributes in graph.nodes)
        both = 1 if self._graph.is_directed() else 2
        unnamed = sum(bool(called(edge[3], self._relations)) for edge in graph.edges)
        return named + both * len(graph.edges) + sum(len(e[3]) for e in graph.edges) - unnamed

    def state(self) -> Hashable:
        """Return a hash of what the facts of all nodes and edges are made of.

        Raises:
            FactError: An attribute refers to itself, or holds others deeper than can be read.
            StoreError: The graph changed during every one of several tries.
        """
        return undisturbed(self._hash)

    def _hash(self) -> int:
        graph = self._copy()
        nodes = [
            (node, text_of(node), str(node), fingerprint(attributes))
            for node, attributes in graph.nodes
        ]
        edges = [
            (one, str(one), two, str(two), key if isinstance(key, str) else None, fingerprint(own))
            for one, two, key, own in graph.edges
        ]
        return hash((tuple(nodes), tuple(edges)))

    def _copy(self) -> _Graph:
        graph = self._graph
        nodes = [(node, dict(attributes)) for node, attributes in graph.nodes(data=True)]
        if graph.is_multigraph():
            found = graph.edges(data=True, keys=True)
            return _Graph(nodes, [(one, two, key, dict(own)) for one, two, key, own in found])
        edges = [(one, two, None, dict(own)) for one, two, own in graph.edges(data=True)]
        return _Graph(nodes, edges)

    def _facts(self) -> Iterator[Triple]:
        graph = undisturbed(self._copy)
        names = {}
        for node, attributes in graph.nodes:
            key, names[node] = self._name(node, attributes)
            others = {k: v for k, v in attributes.items() if str(k) != key}
            yield from node_facts(names[node], (), others, _origin(names, subject=node))
        for one, two, key, attributes in graph.edges:
            label, others = self._label(key, attributes)
            metadata = _origin(names, subject=one, object=two)
            yield from edge_facts(names[one], label, names[two], others, metadata)
            if not self._graph.is_directed():
                metadata = _origin(names, subject=two, object=one)
                yield from edge_facts(names[two], label, names[one], {}, metadata)

    def _name(self, node: Any, attributes: Mapping[Any, Any]) -> tuple[str | None, str]:
        """Return what a node is called, and the attribute that says so."""
        text = node.strip() if isinstance(node, str) else ""
        others = ("name",) if text else ("name", "label", "title")
        return called(attributes, (*self._names, *others)) or (None, text or text_of(node))

    def _label(self, key: Any, attributes: Mapping[Any, Any]) -> tuple[str, dict[Any, Any]]:
        """Return what relates an edge's nodes, and its other attributes."""
        found = called(attributes, self._relations)
        if found:
            return found[1], {k: v for k, v in attributes.items() if str(k) != found[0]}
        return (key if isinstance(key, str) and key.strip() else self._unnamed), dict(attributes)


def _origin(names: Mapping[Any, str], **nodes: Any) -> dict[str, str]:
    """Return the nodes that are called otherwise than by themselves."""
    return {part: str(node) for part, node in nodes.items() if str(node).strip() != names[node]}


def source_of(kb: Any) -> NetworkxSource | None:
    """Return the source of a NetworkX graph or of LangChain's ``NetworkxEntityGraph``."""
    # LangChain's is known by its form: there are copies of it in several packages.
    graph = held(kb, nx.Graph, "_graph")
    return None if graph is None else NetworkxSource(graph)
