"""A SPARQL server that answers rightly, unless a test spoils its replies."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from pyoxigraph import DefaultGraph, NamedNode, QueryResultsFormat, RdfFormat, Store

JSON = "application/sparql-results+json"


@dataclass
class Asked:
    """A request.

    Attributes:
        path: Without its query string.
        query: In SPARQL, "" for a download.
        headers: In lower case.
    """

    path: str
    query: str
    headers: dict[str, str]

    @property
    def counts(self) -> bool:
        return "COUNT" in self.query


@dataclass
class Reply:
    """What goes out; ``raw`` replaces everything, head and all."""

    body: bytes
    kind: str = JSON
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    length: int | None = None  # the length that is claimed


Spoil = Callable[[Asked, Reply], Reply]


@dataclass
class Faulty:
    """The running server.

    Attributes:
        store: What it answers from.
        spoil: What it does to right replies.
        asked: What it was asked.
    """

    store: Store
    url: str = ""
    spoil: Spoil = lambda asked, reply: reply
    asked: list[Asked] = field(default_factory=list)

    def right(self, path: str, query: str, graphs: list[str]) -> Reply:
        if query:
            default = [NamedNode(graph) for graph in graphs] or DefaultGraph()
            found = self.store.query(query, default_graph=default)
            return Reply(found.serialize(format=QueryResultsFormat.JSON) or b"")
        if path != "/store":
            return Reply(b"no such page", "text/plain", 404)
        return Reply(self.store.dump(format=RdfFormat.N_QUADS) or b"", "application/n-quads")


@contextmanager
def faulty(store: Store) -> Iterator[Faulty]:
    """Run the server on loopback."""
    state = Faulty(store)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.answer("")

        def do_POST(self) -> None:
            length = int(self.headers["content-length"])
            self.answer(self.rfile.read(length).decode())

        def answer(self, body: str) -> None:
            form, path = parse_qs(body), urlsplit(self.path).path
            query = form.get("query", [""])[0]
            headers = {name.lower(): value for name, value in self.headers.items()}
            state.asked.append(Asked(path, query, headers))
            right = state.right(path, query, form.get("default-graph-uri", []))
            reply = state.spoil(state.asked[-1], right)
            if reply.raw is None:
                self.send_response(reply.status)
                self.send_header("Content-Type", reply.kind)
                length = len(reply.body) if reply.length is None else reply.length
                self.send_header("Content-Length", str(length))
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.end_headers()
            try:
                self.wfile.write(reply.body if reply.raw is None else reply.raw)
            except OSError:
                return  # who asked has heard enough
            self.close_connection = reply.raw is not None or reply.length is not None

        def log_message(self, format: str, *values: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        state.url = f"http://127.0.0.1:{server.server_port}/query"
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
