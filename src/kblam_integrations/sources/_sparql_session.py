"""Queries to a SPARQL endpoint, downloads from its graph store. Replies are not trusted."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any

import httpx
import pyoxigraph

from kblam.errors import SourceError
from kblam_integrations.sources._oxigraph_terms import plain_quads
from kblam_integrations.sources._rdf_terms import Literal, Quad
from kblam_integrations.sources._sparql_http import (
    Client,
    Connection,
    StatusError,
    failure,
    media_type,
)
from kblam_integrations.sources._sparql_results import Row, rows

__all__ = ["DownloadRefusedError", "Session"]

_JSON = "application/sparql-results+json"
_DEEPEST = 64  # statements inside one statement: parsers of nested ones may exhaust the stack
_INSIDE = b"<<("
_TEXT = re.compile(rb'"(?:[^"\\]|\\.)*"')
_LONGEST_NUMBER = 18  # digits


class DownloadRefusedError(SourceError):
    """There is no graph store under this address, or none that this can read."""


class Session:
    """A series of requests to one endpoint.

    Args:
        connection: Where it is.
    """

    def __init__(self, connection: Connection) -> None:
        self.url = connection.url
        self._client = Client(connection)

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.close()

    def select(self, query: str, graph: str | None = None) -> list[Row]:
        """Return the rows of a SELECT query.

        Args:
            query: In SPARQL.
            graph: The named graph to take for the default graph.

        Raises:
            SourceError: There is no reply, or it is none to this query.
        """

        def read(response: httpx.Response, body: Iterator[bytes]) -> list[Row]:
            kind = media_type(response)
            if kind not in (_JSON, "application/json"):
                raise failure(
                    self.url, f"answered with {kind} instead of {_JSON}", "Is it an endpoint?"
                )
            try:
                # Not strict: some servers leave control characters in strings as they are.
                return rows(json.loads(b"".join(body), strict=False))
            except (ValueError, RecursionError) as error:
                raise failure(
                    self.url, f"answered with what is no result of a query ({error})"
                ) from error

        # A form, which every server takes; in the body, as addresses have a longest length.
        form = {"query": query} | ({} if graph is None else {"default-graph-uri": graph})
        return self._client.request("POST", self.url, read, data=form, accept=_JSON)

    def count(self, query: str, graph: str | None = None) -> int:
        """Return the one number that a query asks for.

        Raises:
            SourceError: There is no reply, or it is no number.
        """
        found = self.select(query, graph)
        number = found[0][0] if len(found) == 1 and len(found[0]) == 1 else None
        text = number.text if isinstance(number, Literal) else ""
        if not text.isascii() or not text.isdigit() or len(text) > _LONGEST_NUMBER:
            raise failure(self.url, f"was asked for a number and answered {found!r:.200}")
        return int(text)

    def download(
        self, url: httpx.URL, parameters: Mapping[str, str], most: int, *, rename: bool
    ) -> list[Quad]:
        """Return a graph or a whole dataset by the Graph Store Protocol.

        Args:
            url: The graph store.
            parameters: ``default``, a ``graph``, or nothing for the whole dataset.
            most: More statements than these are no reply.
            rename: Keep the blank nodes apart from those of other downloads.

        Raises:
            DownloadRefusedError: The server answers with an error, or with something else.
            SourceError: The reply ends early or is malformed.
        """
        # Formats with a statement a line.
        kind = pyoxigraph.RdfFormat.N_TRIPLES if parameters else pyoxigraph.RdfFormat.N_QUADS

        def read(response: httpx.Response, body: Iterator[bytes]) -> list[Quad]:
            if media_type(response) != kind.media_type:
                raise DownloadRefusedError(
                    str(failure(url, f"sent {media_type(response)} instead of {kind.media_type}"))
                )
            found: list[Quad] = []
            stream: Any = _Lines(url, body)
            try:
                # Lenient, as servers are when data is loaded: spaces in IRIs, say.
                parsed = pyoxigraph.parse(stream, kind, lenient=True, rename_blank_nodes=rename)
                for quad in plain_quads(parsed):
                    found.append(quad)
                    if len(found) > most:
                        raise failure(url, f"sent more than {most} statements, and went on")
            except (SyntaxError, OSError) as error:
                raise failure(url, f"sent malformed or incomplete RDF ({error})") from error
            return found

        try:
            return self._client.request(
                "GET", url, read, params=dict(parameters), accept=kind.media_type
            )
        except StatusError as error:
            raise DownloadRefusedError(str(error)) from error


class _Lines(io.RawIOBase):
    """A reply as a file of whole lines, for a parser to read while it arrives."""

    def __init__(self, url: httpx.URL, chunks: Iterator[bytes]) -> None:
        super().__init__()
        self._url = url
        self._chunks = chunks
        self._begun = bytearray()  # a line whose end is still to come
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while not self._ready:
            chunk = next(self._chunks, None)
            if chunk is None and not self._begun:
                return b""
            head, newline, tail = (chunk or b"").rpartition(b"\n")
            if newline or chunk is None:
                lines = bytes(self._begun) + head + newline
                self._ready = memoryview(self._checked(lines))
                self._begun.clear()
            self._begun += tail
        end = len(self._ready) if size < 0 else size
        part, self._ready = self._ready[:end], self._ready[end:]
        return bytes(part)

    def _checked(self, lines: bytes) -> bytes:
        """Return lines none of which has statements inside statements without end."""
        if _INSIDE in lines:
            for line in lines.split(b"\n"):
                # What looks like one may be the text of a literal.
                if (
                    line.count(_INSIDE) > _DEEPEST
                    and _TEXT.sub(b"", line).count(_INSIDE) > _DEEPEST
                ):
                    raise failure(
                        self._url, f"sent a statement with more than {_DEEPEST} others inside it"
                    )
        return lines
