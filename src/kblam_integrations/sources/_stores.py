"""From whatever holds facts to a knowledge store."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set, ValuesView
from importlib import import_module
from pathlib import Path
from typing import Any

from kblam.errors import SourceError, UnsupportedSourceError, require
from kblam.knowledge import (
    CsvSource,
    JsonlSource,
    KnowledgeStore,
    Triple,
    TripleSource,
    VersionedSource,
)
from kblam_integrations.sources._moments import undisturbed
from kblam_integrations.sources._unsupported import unsupported

__all__ = ["as_store"]

_IN_MEMORY = ":memory:"
_STORE_SUFFIXES = (".db", ".sqlite", ".sqlite3")
_RDF_SUFFIXES = (".ttl", ".nt", ".n3", ".nq", ".trig", ".rdf", ".owl", ".jsonld")
# Asked in turn: a package, and the module whose source_of(kb) knows its objects (None where it
# is not one's). Without a package, the module looks at what an object can do.
_READERS: tuple[tuple[str | None, str], ...] = (
    ("rdflib", "rdf"),
    ("pyoxigraph", "oxigraph"),
    ("networkx", "networkx"),
    ("ladybug", "ladybug"),
    ("neo4j", "cypher"),
    ("llama_index.core", "_llama_index"),
    ("sqlalchemy", "sql"),
    (None, "graph_documents"),
)
_SUPPORTED = (
    "a KnowledgeStore; triples, tuples (entity, property, value) or mappings with these keys; a "
    "TripleSource; the path of a store (.db, .sqlite), of JSON lines (.jsonl), of a table (.csv, "
    ".tsv) or of RDF (.ttl, .nt, .n3, .nq, .trig, .rdf, .owl, .jsonld); an rdflib Graph or "
    "Dataset; a NetworkX graph; a LadybugDB Database or Connection; a neo4j Driver or a graph of "
    "LangChain's over one; LangChain GraphDocuments; a LlamaIndex SimpleGraphStore, "
    "PropertyGraphStore, KnowledgeGraphIndex or PropertyGraphIndex on one of these"
)


def as_store(kb: Any, *, path: str | Path = _IN_MEMORY, follow: bool = True) -> KnowledgeStore:
    """Return a knowledge store with the facts of any supported object.

    A store made of a graph or of a file of facts follows it: ``store.refresh()`` brings it up
    to date, and costs little when nothing changed (each source says how much).

    Args:
        kb: A knowledge store or the path of one, which is returned as it is; a list of facts;
            a triple source; a file; a graph of rdflib, NetworkX, LadybugDB, Neo4j, LangChain or
            LlamaIndex.
        path: Where to keep the store. In a file, the vectors outlive the process, and a graph
            that is followed again embeds only what changed meanwhile. The facts of files, lists
            and stores are added to what such a file holds already, and are not followed.
        follow: False reads the object once and for all.

    Raises:
        FactError: It holds something that is no fact.
        MissingExtraError: It is a file whose reader is not installed.
        StoreError: The file does not exist, cannot be read, the store at ``path`` holds other
            facts than the graph's, or another thread changed the graph during every try.
        UnsupportedSourceError: Nothing reads this kind of object.
    """
    copying = str(path) != _IN_MEMORY
    if isinstance(kb, KnowledgeStore):
        return KnowledgeStore.from_source(kb, path) if copying else kb
    if isinstance(kb, str) and "://" in kb:
        # Not shown whole: it may hold a password.
        raise UnsupportedSourceError(
            f"The address {kb.partition('://')[0]}:... does not say which facts are meant. Pass a "
            "source: SqlSource(url, 'people', entity='name') for a database."
        )
    if isinstance(kb, (str, Path)):
        return _from_file(Path(kb), path, follow=follow and not copying)
    source = _source_of(kb)
    if source is None:
        return KnowledgeStore.from_source(_facts_in(kb), path)
    if follow and isinstance(source, VersionedSource):
        return _following(source, path)
    return KnowledgeStore.from_source(source, path)


def _from_file(file: Path, path: str | Path, *, follow: bool) -> KnowledgeStore:
    suffix = file.suffix.lower()
    if not file.exists():
        raise SourceError(f"There is no file {file} to read facts from.")
    if suffix in _STORE_SUFFIXES:
        if str(path) == _IN_MEMORY:
            return KnowledgeStore(file)
        with KnowledgeStore(file) as store:
            return KnowledgeStore.from_source(store, path)
    source: TripleSource
    if suffix in (".jsonl", ".ndjson"):
        source = JsonlSource(file)
    elif suffix in (".csv", ".tsv"):
        source = CsvSource(file, delimiter="," if suffix == ".csv" else "\t")
    elif suffix in _RDF_SUFFIXES:
        require("rdflib", extra="rdf")
        from kblam_integrations.sources.rdf import RdfFileSource

        source = RdfFileSource(file)
    else:
        raise UnsupportedSourceError(
            f"Nothing reads facts from a file like {file.name!r}. Supported: {_SUPPORTED}."
        )
    return _following(source, path) if follow else KnowledgeStore.from_source(source, path)


def _following(source: TripleSource, path: str | Path) -> KnowledgeStore:
    store = KnowledgeStore(path)
    try:
        store.follow(source)
    except BaseException:
        store.close()
        raise
    return store


def _source_of(kb: Any) -> TripleSource | None:
    """Return the source that reads a graph, None for what is none."""
    if isinstance(kb, TripleSource):
        return kb
    for package, module in _READERS:
        # An object of a package that was never imported cannot be: none is imported to look.
        if package is None or sys.modules.get(package) is not None:
            reader = import_module(f"kblam_integrations.sources.{module}")
            found: TripleSource | None = reader.source_of(kb)
            if found is not None:
                return found
    return None


def _facts_in(kb: Any) -> Iterable[Any]:
    """Return the facts of a plain collection.

    Raises:
        UnsupportedSourceError: It is no collection that could hold facts.
    """
    if isinstance(kb, (Triple, Mapping)):
        return [kb]
    # A graph of another package may be iterable too, over its nodes or whatever it likes.
    facts: object = kb
    if not isinstance(facts, (Sequence, Set, ValuesView, Iterator)) or isinstance(kb, bytes):
        raise unsupported(kb, "Expected facts, got ", _SUPPORTED)
    if isinstance(facts, tuple) and facts and all(isinstance(part, str) for part in facts):
        return [facts]
    # Of a collection that others hold, a copy.
    return undisturbed(lambda: list(facts)) if isinstance(facts, (Set, ValuesView)) else facts
