"""What SPARQL servers may reply: errors in words, never part of the facts, never a secret."""

from __future__ import annotations

import gzip
import json
import logging
import re
import time
import traceback
from collections.abc import Iterator
from typing import Any

import pytest
from pyoxigraph import BlankNode, Literal, NamedNode, Quad, Store
from rdf_worlds import EX, quads
from source_contract import said_by
from source_world import World
from sparql_faults import Asked, Faulty, Reply, faulty

from kblam.errors import ConfigError, IncompleteSourceError, SourceError
from kblam.knowledge import KnowledgeStore
from kblam_integrations.sources import SparqlSource, as_store

pytestmark = pytest.mark.integration

SECRET = "hunter2"
WORLD = World({f"Station {i}": {"code": [f"S-{i}"]} for i in range(30)})
STATEMENTS = 60  # with the names of the stations


@pytest.fixture(scope="module")
def running() -> Iterator[Faulty]:
    store = Store()
    store.bulk_extend(quads(WORLD))
    with faulty(store) as server:
        yield server


@pytest.fixture
def server(running: Faulty) -> Iterator[Faulty]:
    running.asked.clear()
    right = running.spoil
    yield running
    running.spoil = right


def source(server: Faulty, **options: Any) -> SparqlSource:
    given = {"graph_store": None, "headers": {"X-Key": SECRET}, "timeout": 2.0, **options}
    return SparqlSource(server.url.replace("//", f"//ann:{SECRET}@") + f"?key={SECRET}", **given)


def error_of(server: Faulty, **options: Any) -> SourceError:
    """Return the error of following a server, which leaves the store as it was."""
    with KnowledgeStore() as store:
        store.add([("Aurora", "launch code", "QX-7719")])
        before = store.fingerprint
        with pytest.raises(SourceError) as info:
            store.sync(source(server, **options))
        assert store.fingerprint == before
    shown = "".join(traceback.format_exception(info.value))
    assert SECRET not in shown
    assert len(str(info.value)) > 30
    return info.value


DEEP = b"[" * 200_000
NESTED = b"<x:s> <x:p> " + b"<<( <x:s> <x:p> " * 100_000
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/sparql-results+json\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
ROW = {"s": {"type": "uri", "value": "x:s"}, "p": {"type": "uri", "value": "x:p"}}


def table(*rows: Any, variables: Any = ("s", "p", "o")) -> bytes:
    return json.dumps(
        {"head": {"vars": list(variables)}, "results": {"bindings": list(rows)}}
    ).encode()


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Reply(b"<html>Hello</html>", "text/html"), "text/html instead of application/sparql"),
        (Reply(b"<sparql/>", "application/sparql-results+xml"), "instead of"),
        (Reply(b""), "no result of a query"),
        (Reply(b"null"), "no result of a query"),
        (Reply(b'{"head": {"vars": ["s"]}, "results": {"bindings": [{"s'), "no result"),
        (Reply(DEEP), "no result"),
        (Reply(b'{"a":' * 200_000), "no result"),
        (Reply(b"\xff\xfe\x00"), "no result"),
        (Reply(b'{"head": {}, "boolean": true}'), "no result"),
        (Reply(b'{"head": {"vars": []}, "results": {"bindings": {}}}'), "a list of bindings"),
        (Reply(table(ROW)), "expected"),
        (Reply(table(7)), "expected"),
        (Reply(table({**ROW, "o": {"type": "uri", "value": 7}})), "expected"),
        (Reply(table({**ROW, "o": {"type": "thing", "value": "7"}})), "expected"),
        (Reply(table({**ROW, "o": {"type": "literal"}})), "expected"),
        (Reply(table({**ROW, "o": {"type": "triple", "value": {}}})), "expected"),
        (Reply(table({**ROW, "s": {"type": "literal", "value": "x"}}, variables="sp")), "number"),
        (Reply(b"Not here", "text/plain", 404), "answered 404 Not Found: 'Not here'"),
        (Reply(b"<html>\x00\n\n Oops", "text/html", 500), "answered 500"),
        (Reply(b"who?", "text/plain", 401), r"refuses to answer .401.*auth="),
        (Reply(b"", "text/plain", 403), r"refuses to answer .403"),
        (Reply(b"", headers={"Location": f"https://x:{SECRET}@h/sparql"}, status=301), "https://h"),
        (Reply(b"", headers={"Location": "/elsewhere"}, status=307), "/elsewhere"),
        (Reply(b"", headers={"Location": "http://["}, status=302), "moved"),
        (Reply(b"", status=301), "moved"),
        (Reply(b"{}", status=206), "cut its reply short"),
        (Reply(b"{}", headers={"X-SQL-State": "S1TAT"}), "cut its reply short"),
        (Reply(b"{}", headers={"Content-Encoding": "gzip"}), "broke off"),
        (Reply(b'{"head"', length=500), "broke off"),
        (Reply(b"", raw=b""), "broke off"),
        (Reply(b"", raw=b"220 smtp.example ESMTP\r\n"), "broke off"),
        (Reply(b"", raw=CHUNKED + b"zz\r\n"), "broke off"),
        (Reply(b"", raw=CHUNKED + b'2\r\n{"\r\n'), "broke off"),
        (Reply(b"", raw=b"HTTP/1.1 200 OK\r\n\r\n"), "no content type"),
    ],
)
def test_a_reply_that_is_none(server: Faulty, reply: Reply, message: str) -> None:
    server.spoil = lambda asked, right: reply
    assert re.search(message, str(error_of(server)))
    # The same where only the rows are bad.
    server.spoil = lambda asked, right: right if asked.counts else reply
    error_of(server)


@pytest.mark.parametrize("text", ["x", "-1", "1.5", "9" * 5000, "٣", ""])
def test_a_count_that_is_none(server: Faulty, text: str) -> None:
    count = table({"count": {"type": "literal", "value": text}}, variables=["count"])
    server.spoil = lambda asked, right: Reply(count) if asked.counts else right
    assert "was asked for a number" in str(error_of(server))


def test_a_server_that_is_busy_is_asked_again(server: Faulty) -> None:
    def busy(asked: Asked, right: Reply) -> Reply:
        return right if len(server.asked) % 3 == 0 else Reply(b"", "text/plain", 503)

    server.spoil = busy
    with as_store(source(server)) as store:
        assert said_by(store) == WORLD.facts()
    server.spoil = lambda asked, right: Reply(b"", status=429, headers={"Retry-After": "0"})
    assert "answered 429" in str(error_of(server))


def test_a_server_that_is_silent(server: Faulty) -> None:
    def silent(asked: Asked, right: Reply) -> Reply:
        time.sleep(0.5)
        return right

    server.spoil = silent
    assert "did not answer within 0.1 s" in str(error_of(server, timeout=0.1))


def test_a_reply_without_end(server: Faulty) -> None:
    server.spoil = lambda asked, right: right if asked.counts else Reply(b" " * 300_000)
    assert "more than 200,000 bytes" in str(error_of(server, max_bytes=200_000))
    bomb = gzip.compress(b" " * 30_000_000)
    server.spoil = lambda asked, right: Reply(bomb, headers={"Content-Encoding": "gzip"})
    assert "more than 200,000 bytes" in str(error_of(server, max_bytes=200_000))


def test_no_server_at_all() -> None:
    nowhere = Faulty(Store(), "http://127.0.0.1:9/query")
    assert "could not be reached" in str(error_of(nowhere))
    nowhere = Faulty(Store(), "http://no-such-host.invalid/query")
    assert "could not be reached" in str(error_of(nowhere))


def test_a_malformed_header_is_not_shown(server: Faulty) -> None:
    error = error_of(server, headers={"X-Key": f"{SECRET}\nX-More: x"})
    assert "line break" in str(error)


def test_secrets_go_to_the_server_only(server: Faulty, caplog: pytest.LogCaptureFixture) -> None:
    address = server.url.replace("//", f"//ann:{SECRET}@")
    with caplog.at_level(logging.DEBUG), as_store(SparqlSource(address)):
        pass
    assert "authorization" in server.asked[-1].headers
    assert SECRET not in caplog.text
    assert SECRET not in repr(source(server)) + str(vars(source(server)))


def test_a_plain_address_holds_no_password(server: Faulty) -> None:
    # What is given a text as kb= may show it: representations, traces, saved settings.
    with pytest.raises(ConfigError, match=r"auth=") as info:
        as_store(server.url.replace("//", f"//ann:{SECRET}@"))
    assert SECRET not in "".join(traceback.format_exception(info.value))


# Results that are cut, repeated, shuffled.


def with_rows(reply: Reply, change: Any) -> Reply:
    result = json.loads(reply.body)
    result["results"]["bindings"] = change(result["results"]["bindings"])
    return Reply(json.dumps(result).encode())


def test_a_cut_result_is_read_in_pages(server: Faulty) -> None:
    server.spoil = lambda asked, right: (
        right if asked.counts else with_rows(right, lambda rows: rows[:7])
    )
    with as_store(source(server)) as store:
        assert said_by(store) == WORLD.facts()


def test_pages_without_an_order_are_asked_for_in_order(server: Faulty) -> None:
    def shuffled(asked: Asked, right: Reply) -> Reply:
        if asked.counts or "ORDER BY" in asked.query:
            return right
        # The second page begins with the last row of the first one, and so on.
        return with_rows(right, lambda rows: rows[::-1] if "OFFSET 20" in asked.query else rows)

    def overlapping(asked: Asked, right: Reply) -> Reply:
        if "OFFSET 10" in asked.query and "ORDER BY" not in asked.query:
            query = asked.query.replace("OFFSET 10", "OFFSET 0")
            return server.right(asked.path, query, [])
        return shuffled(asked, right)

    server.spoil = overlapping
    with as_store(source(server, page_size=10)) as store:
        assert said_by(store) == WORLD.facts()
    assert any("ORDER BY" in asked.query for asked in server.asked)


@pytest.mark.parametrize("rows", [0, 1, 10])
def test_a_result_that_stays_cut_is_an_error(server: Faulty, rows: int) -> None:
    def cut(asked: Asked, right: Reply) -> Reply:
        if asked.counts:
            return right
        unpaged = asked.query.rpartition("LIMIT")[0]
        return with_rows(server.right(asked.path, unpaged, []), lambda found: found[:rows])

    server.spoil = cut
    error = error_of(server)
    assert isinstance(error, IncompleteSourceError)
    assert f"counts {STATEMENTS} statements and gives {rows}" in str(error)
    assert len(server.asked) < 10


def test_a_server_that_changes_all_the_time(server: Faulty) -> None:
    def growing(asked: Asked, right: Reply) -> Reply:
        number = str(STATEMENTS + len(server.asked))
        count = table({"count": {"type": "literal", "value": number}}, variables=["count"])
        return Reply(count) if asked.counts and "GRAPH" not in asked.query else right

    server.spoil = growing
    assert "changed during each" in str(error_of(server))


def test_blank_nodes_with_a_name_a_page() -> None:
    store = Store()
    for i in range(10):
        address = BlankNode(f"b{i}")
        store.add(Quad(NamedNode(f"{EX}a{i}"), NamedNode(f"{EX}address"), address))
        store.add(Quad(address, NamedNode(f"{EX}city"), Literal(f"city {i}")))
    with faulty(store) as server:
        with as_store(source(server, page_size=3)) as facts:
            assert len(facts) == 10
        server.spoil = lambda asked, right: Reply(
            right.body.replace(b'"bnode","value":"', b'"bnode","value":"%d' % len(server.asked))
        )
        with as_store(source(server)) as facts:
            assert len(facts) == 10
        error = error_of(server, page_size=3)
        assert isinstance(error, IncompleteSourceError)
        assert "has 10 blank nodes and names" in str(error)


# Downloads from the graph store.


def downloads(server: Faulty, change: Any) -> None:
    server.spoil = lambda asked, right: right if asked.query else change(right)


def quad_lines(body: bytes) -> Reply:
    return Reply(body, "application/n-quads")


@pytest.mark.parametrize(
    "change",
    [
        lambda right: Reply(b"<html>Hello</html>", "text/html"),
        lambda right: Reply(b"", "text/plain", 404),
        lambda right: Reply(b"", "text/plain", 500),
        lambda right: Reply(b"{}", "application/ld+json"),
        lambda right: quad_lines(b"".join(right.body.splitlines(keepends=True)[:-1])),
        lambda right: quad_lines(b""),
        lambda right: quad_lines(right.body + b"<x:s> <x:p> <x:o> .\n"),
    ],
)
def test_what_cannot_be_downloaded_is_asked_for_in_pages(server: Faulty, change: Any) -> None:
    downloads(server, change)
    with as_store(source(server, graph_store="auto")) as store:
        assert said_by(store) == WORLD.facts()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda right: quad_lines(right.body[:-30]), "malformed or incomplete"),
        (lambda right: quad_lines(b"<x:s> <x:p> \xff .\n"), "malformed or incomplete"),
        (lambda right: Reply(right.body, right.kind, length=len(right.body) + 9), "broke off"),
        (lambda right: quad_lines(b'<x:s> <x:p> "a" .\n' * 5000), "statements, and went on"),
        (
            lambda right: quad_lines(b"<x:s> <x:p> " + b"<<( <x:s> <x:p> " * 100_000),
            "others inside",
        ),
    ],
)
def test_a_download_that_is_none(server: Faulty, change: Any, message: str) -> None:
    downloads(server, change)
    assert message in str(error_of(server, graph_store="auto"))


def test_a_graph_store_that_was_named_must_be_there(server: Faulty) -> None:
    wrong = server.url.replace("/query", "/wrong")
    assert "/wrong answered 404" in str(error_of(server, graph_store=wrong))


def test_a_download_of_a_graph_that_grows(server: Faulty) -> None:
    late = iter((STATEMENTS - 5, STATEMENTS + 5))

    def growing(asked: Asked, right: Reply) -> Reply:
        if not asked.counts or "GRAPH" in asked.query:
            return right
        number = str(next(late))
        return Reply(table({"count": {"type": "literal", "value": number}}, variables=["count"]))

    server.spoil = growing
    with as_store(source(server, graph_store="auto")) as store:
        assert said_by(store) == WORLD.facts()


@pytest.mark.parametrize(
    "given",
    [
        {"endpoint": "localhost:7878/query"},
        {"endpoint": f"ftp://ann:{SECRET}@host/query"},
        {"endpoint": f"http://ann:{SECRET}@host:port/query"},
        {"endpoint": "http:///query"},
        {"endpoint": "http://h/q", "graph_store": "store"},
        {"endpoint": "http://h/q", "graphs": []},
        {"endpoint": "http://h/q", "graphs": "red"},
        {"endpoint": "http://h/q", "graphs": ["http://e/a> } DROP ALL #"]},
        {"endpoint": "http://h/q", "timeout": 0},
        {"endpoint": "http://h/q", "page_size": 0},
    ],
)
def test_settings_are_checked(given: Any) -> None:
    with pytest.raises(ConfigError) as info:
        SparqlSource(**given)
    assert SECRET not in "".join(traceback.format_exception(info.value))
