"""rdflib's ``Graph`` and ``Dataset``, and files of RDF."""

from __future__ import annotations

import sys
from collections.abc import Hashable, Iterator, Sequence
from pathlib import Path
from typing import Any

import rdflib
from rdflib import BNode, Graph, URIRef
from rdflib.graph import DATASET_DEFAULT_GRAPH_ID, ConjunctiveGraph
from rdflib.term import Node

from kblam.errors import StoreError, require
from kblam.knowledge import Triple, TripleSource
from kblam.knowledge._files import written
from kblam_integrations.sources._moments import undisturbed
from kblam_integrations.sources._rdf_facts import facts
from kblam_integrations.sources._rdf_files import parsed
from kblam_integrations.sources._rdf_terms import Literal, Quad, Term

__all__ = ["RDF_SUFFIXES", "RdfFileSource", "RdfSource", "source_of"]

RDF_SUFFIXES = {
    ".ttl": "turtle",
    ".nt": "nt",
    ".n3": "n3",
    ".nq": "nquads",
    ".trig": "trig",
    ".rdf": "xml",
    ".owl": "xml",
    ".jsonld": "json-ld",
}


class RdfSource:
    """The triples of an rdflib graph, in words.

    Subjects, predicates and objects are named by their label (``rdfs:label``,
    ``skos:prefLabel``, schema.org's ``name``, in this order, in the preferred language), or by
    the words of their IRI. A triple that only gives something its name is no fact. The items of
    an RDF list are values one by one. Literals are kept as they are written; of those in
    several languages, only the preferred.

    What hangs on a blank node is told of the node it hangs on:
    ``ex:Acme ex:address [ ex:city "Ulm" ]`` becomes (Acme, address city, Ulm). An amount with a
    unit, as QUDT, schema.org and others write it, is one value:
    ``ex:Acme ex:mass [ qudt:numericValue 42 ; qudt:unit unit:KiloGM ]`` becomes (Acme, mass,
    42 kg), and so does a number whose datatype is a unit. What stands for another statement (RDF
    1.2's ``rdf:reifies``, or ``rdf:subject`` and its like) is named by that statement.

    The IRIs are in the metadata (``subject``, ``predicate``, ``object``), the named graphs of a
    dataset too (``graph``, a list), so that a view can pick a graph.

    To ask whether the graph changed takes one pass over it, which for a graph in memory
    costs about 30 ms per 10,000 triples. Another thread may change a graph in memory
    meanwhile.

    Args:
        graph: Is only read.
        languages: The preferred languages, the best first; text without one always counts.
    """

    def __init__(self, graph: Graph, *, languages: Sequence[str] = ("en",)) -> None:
        self._graph = graph
        self._languages = tuple(languages)

    def triples(self) -> Iterator[Triple]:
        """Read every triple that states a fact.

        Raises:
            StoreError: The graph changed during every one of several tries.
        """
        # rdflib's graphs in memory are read from a copy that they make at once.
        yield from facts(undisturbed(lambda: list(_quads(self._graph))), self._languages)

    def count(self) -> int:
        """Return how many triples the graph has."""
        return len(self._graph)

    def state(self) -> Hashable:
        """Return a hash of all triples, in whatever order the graph has them."""
        return undisturbed(self._hash)

    def _hash(self) -> tuple[int, int]:
        # A sum, not an exclusive or, in which a statement of two graphs would not count.
        return (len(self._graph), sum(map(hash, _raw_quads(self._graph))))


class RdfFileSource:
    """A file of RDF, re-read only when it has been written.

    Nothing else is read: a context of JSON-LD that has to be fetched is refused, so that a file
    of others cannot reach addresses and files of yours.

    Args:
        path: Its suffix tells the format: .ttl, .nt, .n3, .nq, .trig, .rdf, .owl or .jsonld.
        languages: As for :class:`RdfSource`.

    Raises:
        StoreError: There is no such file.
    """

    def __init__(self, path: str | Path, *, languages: Sequence[str] = ("en",)) -> None:
        self.path = Path(path)
        self._languages = languages
        if not self.path.is_file():
            raise StoreError(f"There is no file {self.path} to read facts from.")

    def triples(self) -> Iterator[Triple]:
        """Parse the file and read every triple that states a fact.

        Raises:
            SourceError: It has other files or addresses read, as a JSON-LD file by its context,
                or its entities grow without end.
            StoreError: It is not what its suffix says.
        """
        dataset = parsed(self.path, RDF_SUFFIXES[self.path.suffix.lower()])
        yield from RdfSource(dataset, languages=self._languages).triples()

    def count(self) -> int | None:
        """Return None: to count the triples is to parse the file."""
        return None

    def state(self) -> Hashable:
        """Return what changes when the file is written (one look at the folder)."""
        return written(self.path)


def _quads(graph: Graph) -> Iterator[Quad]:
    for subject, predicate, value, name in _raw_quads(graph):
        yield _node(subject), str(predicate), _term(value), None if name is None else str(name)


def _raw_quads(graph: Graph) -> Iterator[tuple[Node, Node, Node, Node | None]]:
    """Yield the triples of a graph or of all graphs of a dataset, with the graph's name."""
    if not isinstance(graph, ConjunctiveGraph):
        for subject, predicate, value in graph:
            yield subject, predicate, value, None
        return
    for subject, predicate, value, context in graph.quads((None, None, None, None)):
        # A dataset gives the graph's name, its ancestor the graph itself.
        name: Any = context.identifier if isinstance(context, Graph) else context
        unnamed = name is None or name == DATASET_DEFAULT_GRAPH_ID or isinstance(name, BNode)
        yield subject, predicate, value, None if unnamed else name


def _term(term: Node) -> Term:
    if isinstance(term, rdflib.Literal):
        return Literal(str(term), term.language, term.datatype and str(term.datatype))
    return _node(term)


def _node(node: Node) -> str:
    return f"_:{node}" if isinstance(node, BNode) else str(node)


def source_of(kb: Any) -> TripleSource | None:
    """Return the source of an rdflib graph or dataset, None for anything else.

    A graph whose statements are behind a SPARQL endpoint is read from there, and not through
    rdflib, which takes what the server gives for all there is.
    """
    if not isinstance(kb, Graph):
        return None
    endpoints = sys.modules.get("rdflib.plugins.stores.sparqlstore")
    store: Any = kb.store
    if endpoints is None or not isinstance(store, endpoints.SPARQLStore):
        return RdfSource(kb)
    require("pyoxigraph", extra="sparql")
    from kblam_integrations.sources.sparql import SparqlSource

    graphs: str | list[str] = "default"
    if isinstance(kb, ConjunctiveGraph):
        graphs = "all"
    elif isinstance(kb.identifier, URIRef) and kb.identifier != DATASET_DEFAULT_GRAPH_ID:
        graphs = [str(kb.identifier)]
    return SparqlSource(store.query_endpoint, graphs=graphs, headers=store.kwargs.get("headers"))
