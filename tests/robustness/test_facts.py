"""Triples, and files of facts, that are not what they should be."""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from malformed import PLANNED, attempt, damaged_text, judge, many, nonsense
from rdflib import Dataset

from kblam.errors import KBLaMError
from kblam.knowledge import CsvSource, JsonlSource, KnowledgeStore, Triple, TripleSource
from kblam_integrations.sources import RdfFileSource, RdfSource

BEFORE = [Triple("Aurora", "lead", "Mirela Osei", id="a"), Triple("Aurora", "budget", "48200")]
Parts = tuple[str, str, str]


def said(facts: Any) -> list[Parts]:
    return [(fact.entity, fact.property, fact.value) for fact in facts]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[KnowledgeStore]:
    with KnowledgeStore.from_source(BEFORE, tmp_path / "facts.db") as store:
        yield store
        store.check()


def bad_triple(chance: random.Random) -> Any:
    """A triple with something wrong in it, or something else altogether."""
    parts = dict.fromkeys(("entity", "property", "value"), "x")
    kind = chance.randrange(6)
    if kind == 0:
        return nonsense(chance)
    if kind == 1:
        return tuple(nonsense(chance) for _ in range(chance.randrange(5)))
    if kind == 2:
        return {**parts, chance.choice([*parts, "id", "metadata", "more"]): nonsense(chance)}
    if kind == 3:
        return {**parts, "metadata": {chance.choice(["a", "", "\x00", 7]): nonsense(chance)}}
    if kind == 4:
        return {**parts, "value": chance.choice(["y", "z"]), "id": chance.choice(["a", "b"])}
    return [(*parts.values(),), ("new", "fact", str(chance.random())), nonsense(chance)]


def test_triples(store: KnowledgeStore) -> None:
    writers = (store.add, store.upsert, store.sync, lambda item: store.sync([*BEFORE, item]))

    def check(item: Any) -> None:
        for write in writers:
            store.sync(BEFORE)
            before, fingerprint = list(store), store.fingerprint
            outcome = attempt(lambda write=write: write(item))
            if isinstance(outcome, KBLaMError):
                assert store.fingerprint == fingerprint
                assert list(store) == before
            for fact in store:  # whatever was taken is a fact
                assert all(part.strip() == part != "" for part in fact.to_dict().values()
                           if isinstance(part, str))  # fmt: skip
                assert store.get(fact.id) == fact
                assert fact.statement

    judge("triples", many(PLANNED["triples"], bad_triple), check)


def in_file(
    store: KnowledgeStore,
    path: Path,
    good: bytes,
    source: Callable[[Path], TripleSource],
    expected: Callable[[Path], Any],
) -> Callable[[bytes], None]:
    """Return the check of a file's content: read aright or refused, the store as it was."""

    def check(content: bytes) -> None:
        path.write_bytes(good)
        store.sync(source(path))
        before = list(store)
        assert len(before) > 10
        path.write_bytes(content)
        attempt(lambda: list(source(path).triples()))
        outcome = attempt(lambda: store.sync(source(path)))
        if isinstance(outcome, KBLaMError):
            assert list(store) == before
        else:
            assert set(said(store)) == set(expected(path))

    return check


LINES = "".join(
    f'{{"entity": "Zoë {i}", "property": "launchCode", "value": "QX-{i} ☃", "id": "f{i}", '
    f'"metadata": {{"team": ["red", {i}]}}}}\n{{"entity": "Bo", "property": "n{i}", '
    f'"value": {i}.50}}\n'
    for i in range(20)
).encode()


def test_json_lines(store: KnowledgeStore, tmp_path: Path) -> None:
    path = tmp_path / "facts.jsonl"
    undamaged = set(LINES.splitlines())

    def expected(path: Path) -> Iterator[Parts]:
        found = list(JsonlSource(path).triples())
        content = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
        lines = [line for line in content.splitlines() if line.strip()]
        assert len(found) == len(lines)  # none is left out
        for line, triple in zip(lines, found, strict=True):
            if line in undamaged:
                assert line in LINES
                assert triple.entity.encode() in line
        return iter(said(found))

    check = in_file(store, path, LINES, JsonlSource, expected)
    inputs = many(PLANNED["JSON lines"], lambda chance: damaged_text(LINES, chance))
    judge("JSON lines", inputs, check)


ROWS = (
    "entity,property,value,team\n"
    + "".join(f'Zoë {i},motto,"say ""no {i}"", or\nnot ☃",red\nBo,n{i},{i},\n' for i in range(20))
).encode()


def test_csv(store: KnowledgeStore, tmp_path: Path) -> None:
    def expected(path: Path) -> Iterator[Parts]:
        text = path.read_bytes().decode("utf-8-sig")
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
        found = list(CsvSource(path).triples())
        assert len(found) == len(rows) - 1  # none is left out
        return iter(said(found))

    check = in_file(store, tmp_path / "facts.csv", ROWS, CsvSource, expected)
    judge("CSV", many(PLANNED["CSV"], lambda chance: damaged_text(ROWS, chance)), check)


TURTLE = (
    "@prefix ex: <http://example.org/> .\n"
    "@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .\n"
    + "".join(
        f'ex:e{i} rdfs:label "Zoë {i}"@en ; ex:knows ex:e{i + 1} ; ex:size {i}.5 ;\n'
        f'  ex:address [ ex:city "Ulm" ] ; ex:tags ( "a{i}" "b" ) .\n'
        for i in range(6)
    )
).encode()
TRIPLES = "".join(
    f'<http://example.org/e{i}> <http://example.org/p> "v {i}"@en .\n' for i in range(30)
).encode()
XML = (
    '<?xml version="1.0"?>\n<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" '
    'xmlns:ex="http://example.org/">\n'
    + "".join(
        f'<rdf:Description rdf:about="http://example.org/e{i}"><ex:size>{i}</ex:size>'
        "</rdf:Description>\n"
        for i in range(20)
    )
    + "</rdf:RDF>\n"
).encode()


def test_rdf(store: KnowledgeStore, tmp_path: Path) -> None:
    kinds = {".ttl": (TURTLE, "turtle"), ".nt": (TRIPLES, "nt"), ".rdf": (XML, "xml")}
    checks = {}
    for suffix, (good, kind) in kinds.items():

        def expected(path: Path, kind: str = kind) -> list[Parts]:
            graph = Dataset()
            graph.parse(path, format=kind)
            return said(RdfSource(graph).triples())

        path = tmp_path / f"facts{suffix}"
        checks[suffix] = in_file(store, path, good, RdfFileSource, expected)

    def make(chance: random.Random) -> tuple[str, bytes]:
        suffix = chance.choice(list(kinds))
        return suffix, damaged_text(kinds[suffix][0], chance)

    judge("RDF", many(PLANNED["RDF"], make), lambda given: checks[given[0]](given[1]))
