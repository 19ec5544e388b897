"""From whatever holds facts to a knowledge store."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set, ValuesView
from importlib import import_module
from pathlib import Path
from typing import Any

from kblam.errors import ConfigError, SourceError, UnsupportedSourceError, require
from kblam.knowledge import (
    CsvSource,
    JsonlSource,
    KnowledgeStore,
    ListSource,
    Triple,
    TripleSource,
    VersionedSource,
)
from kblam.knowledge._files import reading
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
    "Dataset; a pyoxigraph Store; the address of a SPARQL endpoint; a NetworkX graph; a LadybugDB "
    "Database or Connection; a neo4j Driver, a graph of LangChain's over one or the address of a "
    "server that speaks Bolt; LangChain GraphDocuments; a LlamaIndex SimpleGraphStore, "
    "PropertyGraphStore, KnowledgeGraphIndex or PropertyGraphIndex on one of these"
)


def as_store(
    kb: Any,
    *,
    path: str | Path = _IN_MEMORY,
    follow: bool = True,
    every: float | None = None,
) -> KnowledgeStore:
    """Return a knowledge store with the facts of any supported object.

    A store made of a graph, a database or a file of facts follows it. Without ``every``, it is
    brought up to date before each answer where the object can tell cheaply whether it changed
    (each source says how), and otherwise when ``store.refresh()`` is called.

    Args:
        kb: A knowledge store or the path of one, which is returned as it is; a list of facts;
            a triple source; a file; the address of a SPARQL endpoint; a graph of rdflib,
            Oxigraph, NetworkX, LadybugDB, Neo4j, LangChain or LlamaIndex.
        path: Where to keep the store. In a file, the vectors outlive the process, and a graph
            that is followed again embeds only what changed meanwhile. Unless ``every`` is given,
            the facts of files, lists and stores are added to what such a file holds already,
            and are not followed.
        follow: False reads the object once and for all.
        every: Read the object in the background, so many seconds after the last reading; see
            ``KnowledgeStore.follow``. ``math.inf`` reads it only for ``store.refresh()``.

    Raises:
        ConfigError: ``every`` is given for what cannot be followed, or is not above 0.
        FactError: It holds something that is no fact.
        MissingExtraError: It is a file whose reader is not installed.
        SourceError: It cannot be read.
        StoreError: The store at ``path`` holds other facts than the graph's, or another thread
            changed the graph during every try.
        UnsupportedSourceError: Nothing reads this kind of object.
    """
    kept = str(path) != _IN_MEMORY
    if isinstance(kb, str) and "://" in kb:
        kb = _server(kb)
    file = isinstance(kb, (str, Path))
    source = _file_source(kb) if file else _source_of(kb)
    if source is None or isinstance(source, ListSource):
        _refuse(every, "Facts in memory have nothing to follow.")
        return KnowledgeStore.from_source(source or _facts_in(kb), path)
    if isinstance(source, KnowledgeStore) and not kept:
        _refuse(every, "A knowledge store is up to date by itself; a mirror of it needs a path=.")
        return source
    if not follow:
        _refuse(every, "follow=False reads once and for all.")
    added = kept and every is None and (file or isinstance(source, KnowledgeStore))
    if follow and not added:
        return _following(source, path, every)
    try:
        return KnowledgeStore.from_source(source, path)
    finally:
        if isinstance(source, KnowledgeStore) and source is not kb:
            source.close()


def _refuse(every: float | None, why: str) -> None:
    """Refuse ``every`` where it means nothing.

    Raises:
        ConfigError: It was given.
    """
    if every is not None:
        raise ConfigError(
            f"Expected a graph, a database or a file of facts to follow every {every:g} s. {why}"
        )


def _server(address: str) -> TripleSource:
    """Return the source of a server by its address.

    Raises:
        ConfigError: It holds a password, which whoever is given a text may show.
        UnsupportedSourceError: An address of this kind does not say enough.
    """
    scheme, _, place = address.partition("://")
    if scheme in ("http", "https"):
        if "@" in place.partition("/")[0]:
            raise ConfigError(
                "Expected the address of a SPARQL endpoint without user and password. Pass "
                "SparqlSource(address, auth=(user, password)) instead."
            )
        require("pyoxigraph", extra="sparql")
        from kblam_integrations.sources.sparql import SparqlSource

        return SparqlSource(address)
    if scheme.partition("+")[0] in ("bolt", "neo4j"):
        require("neo4j", extra="neo4j")
        from kblam_integrations.sources.cypher import CypherSource

        return CypherSource(address)
    # Not shown whole: it may hold a password.
    raise UnsupportedSourceError(
        f"The address {scheme}:... does not say which facts are meant. Pass a source: "
        "SqlSource(url, 'people', entity='name') for a database."
    )


def _file_source(name: str | Path) -> TripleSource:
    """Return the source of a file; a store for a store's."""
    file = Path(name)
    suffix = file.suffix.lower()
    with reading(file):
        found = file.exists()
    if not found:
        raise SourceError(f"There is no file {file} to read facts from.")
    if suffix in _STORE_SUFFIXES:
        return KnowledgeStore(file, create=False)
    if suffix in (".jsonl", ".ndjson"):
        return JsonlSource(file)
    if suffix in (".csv", ".tsv"):
        return CsvSource(file, delimiter="," if suffix == ".csv" else "\t")
    if suffix in _RDF_SUFFIXES:
        require("rdflib", extra="rdf")
        from kblam_integrations.sources.rdf import RdfFileSource

        return RdfFileSource(file)
    raise UnsupportedSourceError(
        f"Nothing reads facts from a file like {file.name!r}. Supported: {_SUPPORTED}."
    )


def _following(source: TripleSource, path: str | Path, every: float | None) -> KnowledgeStore:
    if every is None and not isinstance(source, VersionedSource):
        every = math.inf  # it would be read as a whole before each answer
    store = KnowledgeStore(path)
    try:
        store.follow(source, every=every)
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
