"""The names of RDF terms, and the statements that remain when the names are taken."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rdflib import BNode, Literal, URIRef
from rdflib.namespace import RDF, RDFS, SKOS
from rdflib.term import Node

from kblam.knowledge import term_words

__all__ = ["Index", "Quad"]

Quad = tuple[Node, Node, Node, "Node | None"]

_LABELS: tuple[Node, ...] = (
    RDFS.label,
    SKOS.prefLabel,
    URIRef("https://schema.org/name"),
    URIRef("http://schema.org/name"),
)


class Index:
    """The statements of a graph by subject, in the graph's order.

    Args:
        quads: Subject, predicate, object and the name of the graph, if it has one.
        languages: The preferred languages, the best first.
    """

    def __init__(self, quads: Iterable[Quad], languages: tuple[str, ...]) -> None:
        self._languages = languages
        self._statements: dict[Node, dict[tuple[Node, Node], list[str]]] = {}
        for subject, predicate, value, graph in quads:
            graphs = self._statements.setdefault(subject, {}).setdefault((predicate, value), [])
            if graph is not None:
                graphs.append(str(graph))
        self._labels: dict[Node, str] = {}

    def subjects(self) -> Iterator[Node]:
        """Yield every subject."""
        return iter(self._statements)

    def label(self, node: Node) -> str:
        """Return the best label that the graph gives a node, "" without one."""
        if node not in self._labels:
            labels = [
                (self._rank(value), _LABELS.index(predicate), str(value).strip())
                for predicate, value in self._statements.get(node, ())
                if predicate in _LABELS and isinstance(value, Literal) and value.strip()
            ]
            # Equal ranks are settled by the alphabet, so that the choice is no accident.
            self._labels[node] = min(labels)[2] if labels else ""
        return self._labels[node]

    def name(self, node: Node) -> str:
        """Return what to call a node, "" for a blank one without a label."""
        if isinstance(node, Literal):
            return str(node).strip()
        return self.label(node) or ("" if isinstance(node, BNode) else term_words(str(node)))

    def statements(self, node: Node) -> Iterator[tuple[Node, Node, list[str]]]:
        """Yield predicate, object and graphs of what is said of a node, its name apart."""
        said = self._statements.get(node, {})
        readable = {
            predicate
            for predicate, value in said
            if isinstance(value, Literal) and not self._is_foreign(value)
        }
        for (predicate, value), graphs in said.items():
            if isinstance(value, Literal):
                foreign = self._is_foreign(value)
                if foreign and (predicate in readable or predicate in _LABELS):
                    continue
                if predicate in _LABELS and value.strip() == self.label(node):
                    continue
            yield predicate, value, graphs

    def items(self, value: Node) -> Iterator[Node]:
        """Yield the items of an RDF list, or the node itself if it is none."""
        if value != RDF.nil and self._first(value) is None:
            yield value
            return
        seen: set[Node] = set()  # a malformed list may lead back into itself
        cell: Node | None = value
        while cell is not None and cell != RDF.nil and cell not in seen:
            seen.add(cell)
            first = self._first(cell)
            if first is not None:
                yield first
            cell = self._object(cell, RDF.rest)

    def _first(self, cell: Node) -> Node | None:
        return self._object(cell, RDF.first)

    def _object(self, node: Node, wanted: Node) -> Node | None:
        for predicate, value in self._statements.get(node, ()):
            if predicate == wanted:
                return value
        return None

    def _rank(self, literal: Literal) -> int:
        """Order literals by language: the preferred ones, none, any other."""
        if literal.language is None:
            return len(self._languages)
        language = literal.language.split("-")[0].lower()
        if language in self._languages:
            return self._languages.index(language)
        return len(self._languages) + 1

    def _is_foreign(self, literal: Literal) -> bool:
        return self._rank(literal) > len(self._languages)
