"""A SPARQL server, really spoken to, one of whose replies is damaged."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from malformed import PLANNED, attempt, damaged, damaged_text, judge, many
from pyoxigraph import (
    DefaultGraph,
    Literal,
    NamedNode,
    Quad,
    QueryResultsFormat,
    RdfFormat,
    Store,
)

from kblam.errors import KBLaMError
from kblam.knowledge import KnowledgeStore, ListSource
from kblam_integrations.sources import SparqlSource

EX = "http://example.org/"
FACTS = 120
JSON = "application/sparql-results+json"


class Handler(BaseHTTPRequestHandler):
    """Answers queries and downloads from a store, one of them as :attr:`Server.damage` says."""

    server: Server

    def do_GET(self) -> None:
        if urlsplit(self.path).path != "/store" or not self.server.has_graph_store:
            self.send_error(404)
            return
        kind = RdfFormat.N_QUADS
        graph = None
        if "default" in self.path:
            kind, graph = RdfFormat.N_TRIPLES, DefaultGraph()
        body = self.server.store.dump(format=kind, from_graph=graph)
        self.answer(kind.media_type, body or b"")

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        found = self.server.store.query(form["query"][0])
        self.answer(JSON, found.serialize(format=QueryResultsFormat.JSON) or b"")

    def answer(self, kind: str, body: bytes) -> None:
        self.server.asked += 1
        reply: dict[str, Any] = {"status": 200, "kind": kind, "length": len(body), "body": body}
        if self.server.asked == self.server.which:
            reply = spoilt(reply, random.Random(self.server.seed))
        self.send_response(reply["status"], reply.get("reason"))
        self.send_header("Content-Type", reply["kind"])
        self.send_header("Content-Length", str(reply["length"]))
        for name, value in reply.get("more", {}).items():
            self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(reply["body"])
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    asked = 0
    which = 0
    seed = 0
    has_graph_store = True

    def __init__(self, store: Store) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.store = store

    def handle_error(self, *_: Any) -> None:
        """The client hung up: it has seen enough."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/query"


def spoilt(reply: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    """Return a reply as a broken server, a proxy or a bad line would give it."""
    body: bytes = reply["body"]
    page = b"<html><body><h1>Welcome to the network!</h1></body></html>"
    number = body.replace(b'"120"', chance.choice([b'"121"', b'"-1"', b'"1e3"', b"120", b'""']))
    other = chance.choice([damaged(body, chance), damaged_text(body, chance)])
    short = chance.randrange(len(body))
    wrong: list[dict[str, Any]] = [
        *[{"body": other, "length": len(other)}] * 5,
        {"length": len(body) + 50},
        {"length": short},
        {"body": body[:short]},
        {"body": page, "length": len(page), "kind": "text/html"},
        {"body": page, "length": len(page)},
        {"body": b"", "length": 0},
        {"body": number, "length": len(number)},
        {"kind": chance.choice(["text/plain", "", "application/xml", "\xff", JSON + "; q=" * 500])},
        {"status": chance.choice([204, 206, 301, 400, 401, 403, 404, 418, 500, 503, 599])},
        {"status": 302, "more": {"Location": chance.choice(["/query", "http://[", "", "x:y"])}},
        {"more": {"Content-Encoding": chance.choice(["gzip", "deflate", "br", "nonsense"])}},
        {"more": {"Transfer-Encoding": "chunked"}},
        {"more": {"X-Filler": "x" * 100_000}},
        {"status": 500, "reason": "x" * 5_000, "body": page * 1_000, "length": len(page) * 1_000},
        {"body": b"[" * 20_000, "length": 20_000},
        {"body": b'{"head": {"vars": 7}, "results": {"bindings": {}}}', "length": 50},
    ]
    return {**reply, **chance.choice(wrong)}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    store = Store()
    for i in range(FACTS):
        subject, name = NamedNode(f"{EX}Zoe_{i}"), NamedNode(f"{EX}launchCode")
        store.add(Quad(subject, name, Literal(f"QX-{i} ☃", language="en"), DefaultGraph()))
    with Server(store) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.integration
def test_replies(server: Server) -> None:
    with KnowledgeStore() as store:
        server.which = 0
        store.sync(SparqlSource(server.url))
        whole = list(store)
        assert len(whole) == FACTS

        def check(given: tuple[int, bool, int]) -> None:
            server.which, server.has_graph_store, server.seed = given
            server.asked = 0
            source = SparqlSource(server.url, timeout=2, page_size=50)
            outcome = attempt(lambda: store.sync(ListSource(source.triples())))
            if isinstance(outcome, KBLaMError):
                assert list(store) == whole
                return
            # What was damaged inside a text cannot be told; that something is missing can.
            assert len(set(store) & set(whole)) >= FACTS - 8
            assert len(store) + 4 >= FACTS
            server.which = 0
            store.sync(SparqlSource(server.url))
            assert set(store) == set(whole)

        def make(chance: random.Random) -> tuple[int, bool, int]:
            return chance.choice([1, 1, 2, 2, 3, 4]), chance.random() < 0.5, chance.randrange(9999)

        judge("replies of servers", many(PLANNED["replies of servers"], make), check)
