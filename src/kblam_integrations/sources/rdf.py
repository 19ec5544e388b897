"""rdflib's ``Graph`` and ``Dataset``, and files of RDF."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rdflib import BNode, Dataset, Graph, Literal, URIRef
from rdflib.graph import DATASET_DEFAULT_GRAPH_ID, ConjunctiveGraph
from rdflib.term import Node

from kblam.errors import StoreError
from kblam.knowledge import Triple, value_words, verbalise
from kblam_integrations.sources._moments import undisturbed
from kblam_integrations.sources._rdf_labels import Index, Quad

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
    the words of their IRI. A triple that only gives something its name is no fact. What hangs
    on a blank node is told of the node it hangs on: ``ex:Acme ex:address [ ex:city "Ulm" ]``
    becomes (Acme, address city, Ulm). The items of an RDF list are values one by one. Literals
    are kept as they are written; of those in several languages, only the preferred.

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
        index = Index(undisturbed(lambda: list(_quads(self._graph))), self._languages)
        for subject in index.subjects():
            name = index.name(subject)
            # A blank node is told of what it hangs on; alone it has no name to be asked by.
            if name:
                yield from self._facts(index, subject, name, "", (subject,))

    def count(self) -> int:
        """Return how many triples the graph has."""
        return len(self._graph)

    def state(self) -> Hashable:
        """Return a hash of all triples, in whatever order the graph has them."""
        return undisturbed(self._hash)

    def _hash(self) -> tuple[int, int]:
        total = 0
        for quad in _quads(self._graph):
            total ^= hash(quad)
        return (len(self._graph), total)

    def _facts(
        self, index: Index, node: Node, name: str, path: str, above: tuple[Node, ...]
    ) -> Iterator[Triple]:
        """Yield what the graph says of a node, or of the blank node at the end of a path."""
        for predicate, value, graphs in index.statements(node):
            words = f"{path} {index.label(predicate) or verbalise(str(predicate))}".strip()
            for item in index.items(value):
                label = index.name(item)
                if isinstance(item, URIRef) and not index.label(item):
                    label = value_words(str(predicate), str(item))
                if label:
                    origin = _origin(above[0], predicate, item, graphs)
                    yield Triple(name, words, label, metadata=origin)
                elif isinstance(item, BNode) and item not in above:
                    yield from self._facts(index, item, name, words, (*above, item))


class RdfFileSource:
    """A file of RDF, re-read only when it has been written.

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
            StoreError: The file is not what its suffix says.
        """
        dataset = Dataset()
        try:
            with warnings.catch_warnings():
                # rdflib's own parsers use what rdflib has deprecated.
                warnings.simplefilter("ignore", DeprecationWarning)
                dataset.parse(self.path, format=RDF_SUFFIXES[self.path.suffix.lower()])
        except Exception as error:  # each of rdflib's parsers raises errors of its own
            raise StoreError(f"{self.path} could not be read as RDF: {error}") from error
        yield from RdfSource(dataset, languages=self._languages).triples()

    def count(self) -> int | None:
        """Return None: to count the triples is to parse the file."""
        return None

    def state(self) -> Hashable:
        """Return the file's time of writing and size (one look at the folder)."""
        status = self.path.stat()
        return (status.st_mtime_ns, status.st_size, status.st_ino)


def _quads(graph: Graph) -> Iterator[Quad]:
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


def _origin(subject: Node, predicate: Node, value: Node, graphs: list[str]) -> dict[str, Any]:
    """Return where a fact stands in the graph."""
    metadata: dict[str, Any] = {"predicate": str(predicate)}
    if not isinstance(subject, BNode):
        metadata["subject"] = str(subject)
    if not isinstance(value, (BNode, Literal)):
        metadata["object"] = str(value)
    if graphs:
        metadata["graph"] = graphs
    return metadata


def source_of(kb: Any) -> RdfSource | None:
    """Return the source of an rdflib graph or dataset, None for anything else."""
    return RdfSource(kb) if isinstance(kb, Graph) else None
