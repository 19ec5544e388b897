"""pyoxigraph's quads, as every reader of RDF here takes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyoxigraph

from kblam_integrations.sources._rdf_terms import XSD, Literal, Quad, Statement, Term

__all__ = ["plain_quads"]

_STRING = f"{XSD}string"
# Triple terms within triple terms: a deeper one is a blank node of which nothing is known.
_DEEPEST = 16

_Term = pyoxigraph.NamedNode | pyoxigraph.BlankNode | pyoxigraph.Literal | pyoxigraph.Triple


def plain_quads(quads: Iterable[pyoxigraph.Quad]) -> Iterator[Quad]:
    """Yield quads in terms of plain Python; a graph named by a blank node has no name."""
    for quad in quads:
        graph = quad.graph_name
        yield (
            _node(quad.subject),
            quad.predicate.value,
            _term(quad.object, 0),
            graph.value if isinstance(graph, pyoxigraph.NamedNode) else None,
        )


def _term(term: _Term, depth: int) -> Term:
    if isinstance(term, pyoxigraph.NamedNode):
        return term.value
    if isinstance(term, pyoxigraph.Literal):
        language, datatype = term.language, term.datatype.value
        plain = language is not None or datatype == _STRING
        return Literal(term.value, language, None if plain else datatype)
    if isinstance(term, pyoxigraph.Triple):
        if depth > _DEEPEST:
            return "_:"
        return Statement(_node(term.subject), term.predicate.value, _term(term.object, depth + 1))
    return f"_:{term.value}"


def _node(node: pyoxigraph.NamedNode | pyoxigraph.BlankNode | pyoxigraph.Triple) -> str:
    if isinstance(node, pyoxigraph.NamedNode):
        return node.value
    # Some versions take a triple for a subject too, which no graph of RDF 1.2 has.
    return f"_:{node}" if isinstance(node, pyoxigraph.Triple) else f"_:{node.value}"
