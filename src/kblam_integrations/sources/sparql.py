"""Any server that speaks SPARQL 1.1 over HTTP."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import httpx

from kblam.errors import ConfigError
from kblam.knowledge import Triple
from kblam_integrations.sources._rdf_facts import facts
from kblam_integrations.sources._rdf_terms import Quad
from kblam_integrations.sources._sparql_http import Connection, checked_url, shown
from kblam_integrations.sources._sparql_reading import (
    Reading,
    Unit,
    everything,
    only_default,
    only_graph,
)
from kblam_integrations.sources._sparql_session import Session

__all__ = ["SparqlSource"]

_FORBIDDEN = frozenset('<>"{}|^`\\')


class SparqlSource:
    """The facts behind a SPARQL endpoint.

    They are the same, and have the same metadata, as those of an rdflib ``Dataset`` that holds
    the same quads: see :class:`~kblam_integrations.sources.RdfSource`.

    **Everything is read.** The server is asked how many statements it has, and a reading with
    fewer is an error, never a shorter list. Where the server has a graph store (SPARQL 1.1 Graph
    Store Protocol), a graph is downloaded in one piece; elsewhere it is asked for page by page,
    and a server that gives at most so many rows at a time is asked until there are no more.

    Requests only read. A server that is busy (429, 502, 503, 504) is asked again twice.

    Args:
        endpoint: Where queries go, such as ``http://localhost:7878/query``. Keep secrets out
            of its query string: httpx writes addresses to the log.
        graphs: ``"all"``: the default graph and all named ones (but for Virtuoso's notes on
            itself); ``"default"``: the default graph; or IRIs of named graphs.
        languages: The preferred languages, the best first; text without one always counts.
        graph_store: Where graphs can be downloaded, such as ``http://localhost:7878/store``;
            ``"auto"`` tries Oxigraph's place for it beside an endpoint called ``query``; None
            asks for pages.
        auth: User and password, for HTTP's basic authentication.
        headers: Sent with every request: ``{"Authorization": "Bearer ..."}``.
        timeout: Seconds to wait for a connection, and for each next part of a reply.
        page_size: Rows to ask for at a time.
        max_bytes: The longest reply that is read, as a guard against servers gone mad.

    Raises:
        ConfigError: An address or a setting is malformed.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        graphs: str | Sequence[str] = "all",
        languages: Sequence[str] = ("en",),
        graph_store: str | None = "auto",
        auth: tuple[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 60.0,
        page_size: int = 10_000,
        max_bytes: int = 2**32,
    ) -> None:
        url = checked_url(endpoint)
        if auth is None and url.userinfo:
            auth = (url.username, url.password)
        if timeout <= 0 or page_size < 1 or max_bytes < 1:
            raise ConfigError(
                "timeout, page_size and max_bytes must be positive, got "
                f"{timeout}, {page_size} and {max_bytes}."
            )
        self._connection = Connection(
            url.copy_with(userinfo=b""), auth, dict(headers or {}), timeout, max_bytes
        )
        self._graphs = _checked_graphs(graphs)
        self._languages = tuple(languages)
        self._page_size = page_size
        self._guessing = graph_store == "auto"
        self._graph_store = _graph_store(self._connection.url, graph_store)

    def triples(self) -> Iterator[Triple]:
        """Read every triple that states a fact.

        Raises:
            IncompleteSourceError: The server gives fewer statements than it has.
            SourceError: It cannot be reached, refuses, takes too long, changes all the time, or
                what it replies is malformed.
        """
        yield from facts(self._quads(), self._languages)

    def count(self) -> int:
        """Ask the server how many statements there are.

        Raises:
            SourceError: As for :meth:`triples`.
        """
        with Session(self._connection) as session:
            units = self._units(session)
            reading = Reading(session, None, self._page_size)
            return sum(reading.count(unit.parts) for unit in units)

    def _quads(self) -> list[Quad]:
        with Session(self._connection) as session:
            reading = Reading(session, self._graph_store, self._page_size)
            quads = reading.quads(self._units(session), insist=not self._guessing)
            self._graph_store = reading.graph_store
            return quads

    def _units(self, session: Session) -> list[Unit]:
        if self._graphs == "all":
            return [everything(session)]
        if self._graphs == "default":
            return [only_default()]
        return [only_graph(name) for name in self._graphs]

    def __repr__(self) -> str:
        graphs = self._graphs if isinstance(self._graphs, str) else list(self._graphs)
        return f"SparqlSource({shown(self._connection.url)!r}, graphs={graphs!r})"


def _graph_store(endpoint: httpx.URL, given: str | None) -> httpx.URL | None:
    if given is None:
        return None
    if given != "auto":
        return checked_url(given).copy_with(userinfo=b"")
    folder, _, name = endpoint.path.rpartition("/")
    return endpoint.copy_with(path=f"{folder}/store", query=None) if name == "query" else None


def _checked_graphs(graphs: str | Sequence[str]) -> str | tuple[str, ...]:
    if graphs in ("all", "default"):
        return str(graphs)
    names = (graphs,) if isinstance(graphs, str) else tuple(graphs)
    for name in names:
        if ":" not in name or not _FORBIDDEN.isdisjoint(name) or any(c <= " " for c in name):
            raise ConfigError(
                f'graphs must be "all", "default" or IRIs of named graphs, got {name!r:.100}.'
            )
    if not names:
        raise ConfigError('graphs is empty. Say "all", "default", or name the graphs.')
    return names
