"""Reading all that an endpoint holds, whatever its server does to long results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import httpx

from kblam.errors import IncompleteSourceError, SourceError
from kblam_integrations.sources._rdf_terms import Quad, Term, is_blank
from kblam_integrations.sources._sparql_http import failure, shown
from kblam_integrations.sources._sparql_results import Row
from kblam_integrations.sources._sparql_session import DownloadRefusedError, Session

__all__ = ["Reading", "Unit", "everything", "only_default", "only_graph"]

_TRIES = 3
# Virtuoso's notes on itself, which are no one's facts. It names them like any other graph.
_SYSTEM = ("http://www.openlinksw.com/schemas/virtrdf#", "http://localuriqaserver/sparql")
_NOT_SYSTEM = f"FILTER (?g NOT IN ({', '.join(f'<{name}>' for name in _SYSTEM)}))"
_TRIPLE = "?s ?p ?o"
_IN_GRAPHS = f"GRAPH ?g {{ {_TRIPLE} }} {_NOT_SYSTEM}"
# With some servers the default graph is all graphs in one, and says nothing beyond them.
_BEYOND_GRAPHS = f"""
SELECT {_TRIPLE} WHERE {{ {_TRIPLE} FILTER NOT EXISTS {{ GRAPH ?g {{ {_TRIPLE} }} }} }} LIMIT 1
"""
_MARGIN = 1000  # a server may be written to between a count and a download


class Part(NamedTuple):
    """What one pattern matches.

    Attributes:
        variables: Three or four, the fourth the name of the graph.
        pattern: In SPARQL.
        graph: The named graph to ask, None for whatever the server takes by default.
    """

    variables: str
    pattern: str
    graph: str | None = None


class Unit(NamedTuple):
    """What one download gives: parts, and the parameters to ask the graph store for them."""

    parts: tuple[Part, ...]
    parameters: dict[str, str]


_DEFAULT = Part(_TRIPLE, _TRIPLE)
_NAMED = Part(f"{_TRIPLE} ?g", _IN_GRAPHS)


def everything(session: Session) -> Unit:
    """Return the default graph and all named ones, as far as each has something of its own."""
    if session.count(_count(_NAMED)) == 0:
        return Unit((_DEFAULT,), {})
    beyond = session.select(_BEYOND_GRAPHS)
    return Unit((_DEFAULT, _NAMED) if beyond else (_NAMED,), {})


def only_default() -> Unit:
    """Return the default graph."""
    return Unit((_DEFAULT,), {"default": ""})


def only_graph(name: str) -> Unit:
    """Return one named graph."""
    return Unit((Part(_TRIPLE, _TRIPLE, name),), {"graph": name})


class Reading:
    """One reading of an endpoint, from the beginning to the end.

    A reading is complete when there are as many different statements as the server counts; this
    is what tells a result that was cut, or pages that overlap.

    Args:
        session: Asks the endpoint.
        graph_store: Where graphs can be downloaded, None to ask for pages of them.
        page_size: The rows to ask for at a time; a server may give fewer.
    """

    def __init__(self, session: Session, graph_store: httpx.URL | None, page_size: int) -> None:
        self._session = session
        self.graph_store = graph_store
        self._page_size = page_size

    def count(self, parts: Iterable[Part]) -> int:
        """Return how many statements the server counts."""
        return sum(self._session.count(_count(part), part.graph) for part in parts)

    def quads(self, units: Sequence[Unit], *, insist: bool) -> list[Quad]:
        """Return all statements of some graphs.

        Args:
            units: The graphs.
            insist: Raise where there is no graph store, instead of asking for pages.

        Raises:
            DownloadRefusedError: The graph store answers with an error, and it should not.
            IncompleteSourceError: The server gives fewer statements than it counts.
            SourceError: It does not answer, or changes all the time.
        """
        found: list[Quad] = []
        for unit in units:
            quads = self._downloaded(unit, rename=len(units) > 1, insist=insist)
            if quads is None:
                for part in unit.parts:
                    found += self._paged(part)
            else:
                graph = unit.parameters.get("graph")
                found += [(*quad[:3], graph) for quad in quads] if graph else quads
        return found

    def _downloaded(self, unit: Unit, *, rename: bool, insist: bool) -> list[Quad] | None:
        """Return the statements from the graph store, None where it has not all of them."""
        if self.graph_store is None:
            return None
        before = self.count(unit.parts)
        most = 2 * before + _MARGIN
        try:
            found = self._session.download(self.graph_store, unit.parameters, most, rename=rename)
        except DownloadRefusedError:
            if insist:
                raise
            self.graph_store = None
            return None
        found = [quad for quad in found if quad[3] not in _SYSTEM]
        if len(found) == before:
            return found
        # A download shows one moment: of a graph that grows, it has a number in between.
        after = self.count(unit.parts)
        return found if before != after and _between(before, len(found), after) else None

    def _paged(self, part: Part) -> list[Quad]:
        for _ in range(_TRIES):
            before = self.count([part])
            for query in (_page, _ordered_page):
                rows, requests = self._pages(part, query, before)
                if len(rows) == before:
                    break
            after = self.count([part])
            if len(rows) == before == after:
                if requests > 1:
                    self._check_blank_nodes(part, rows)
                return [_quad(row, part.graph) for row in rows]
            if before == after:
                raise IncompleteSourceError(
                    f"The SPARQL server at {shown(self._session.url)} counts {after} statements"
                    f"{_in_graph(part)} and gives {len(rows)}, however it is asked. Raise its "
                    "limits on results, or give the address of its graph store, if it has one "
                    "that is complete, with graph_store=."
                )
        raise failure(
            self._session.url,
            f"changed during each of {_TRIES} readings{_in_graph(part)}",
            "Read it when its writer rests, or give the address of its graph store with "
            "graph_store=: a download shows one moment.",
        )

    def _pages(
        self, part: Part, query: Callable[[Part, int, int], str], expected: int
    ) -> tuple[dict[Row, None], int]:
        """Return the different rows of all pages, and how many requests these took."""
        found: dict[Row, None] = {}
        offset = requests = 0
        while len(found) < expected:
            rows = self._session.select(query(part, self._page_size, offset), part.graph)
            requests += 1
            known = len(found)
            found.update(dict.fromkeys(rows))
            if len(found) == known:  # the end, or a server that repeats itself
                break
            # By what came, not by what was asked for: servers have limits of their own.
            offset += len(rows)
        return found, requests

    def _check_blank_nodes(self, part: Part, rows: Iterable[Row]) -> None:
        """Raise if blank nodes have another name in every reply, so that nothing hangs on them."""
        seen = {term for row in rows for term in (row[0], row[2]) if is_blank(term)}
        if not seen:
            return
        count = self._session.count(_count_blank_nodes(part), part.graph)
        if count != len(seen):
            raise IncompleteSourceError(
                f"The SPARQL server at {shown(self._session.url)} has {count} blank nodes"
                f"{_in_graph(part)} and names {len(seen)}: they have other names in every reply. "
                "Ask for everything at once with page_size=, or give the address of its graph "
                "store with graph_store=."
            )


def _count(part: Part) -> str:
    return f"SELECT (COUNT(*) AS ?count) WHERE {{ {part.pattern} }}"


def _page(part: Part, size: int, offset: int) -> str:
    return f"SELECT {part.variables} WHERE {{ {part.pattern} }} LIMIT {size} OFFSET {offset}"


def _ordered_page(part: Part, size: int, offset: int) -> str:
    # Sorted inside: Virtuoso refuses to sort more than 10,000 rows for a page further on.
    inner = f"SELECT {part.variables} WHERE {{ {part.pattern} }} ORDER BY {part.variables}"
    return f"SELECT {part.variables} WHERE {{ {{ {inner} }} }} LIMIT {size} OFFSET {offset}"


def _count_blank_nodes(part: Part) -> str:
    as_subject = part.pattern.replace("?s", "?node")
    as_object = part.pattern.replace("?o", "?node")
    return (
        "SELECT (COUNT(DISTINCT ?node) AS ?count) "
        f"WHERE {{ {{ {as_subject} }} UNION {{ {as_object} }} FILTER (isBlank(?node)) }}"
    )


def _quad(row: Row, graph: str | None) -> Quad:
    subject, predicate, value = row[:3]
    name: Term | None = row[3] if len(row) > 3 else graph
    if not isinstance(subject, str) or not isinstance(predicate, str):
        raise SourceError(f"Expected IRIs, got the statement {row!r:.200}.")
    return subject, predicate, value, None if name is None or is_blank(name) else str(name)


def _between(one: int, number: int, other: int) -> bool:
    return min(one, other) <= number <= max(one, other)


def _in_graph(part: Part) -> str:
    return "" if part.graph is None else f" in the graph {part.graph}"
