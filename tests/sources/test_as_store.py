"""``as_store`` takes what can be read and says what cannot."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import kblam_integrations.sources
from kblam.errors import ConfigError, FactError, SourceError, StoreError, UnsupportedSourceError
from kblam.knowledge import JsonlSource, KnowledgeStore, ListSource, SyncReport, Triple
from kblam_integrations.sources import as_store

FACT = ("Aurora", "launch code", "QX-7719")
LINE = '{"entity": "Aurora", "property": "launch code", "value": "QX-7719"}\n'


def facts(store: KnowledgeStore) -> list[tuple[str, str, str]]:
    return [(fact.entity, fact.property, fact.value) for fact in store]


def test_a_store_is_returned_as_it_is() -> None:
    with KnowledgeStore.from_source([FACT]) as store:
        assert as_store(store) is store


@pytest.mark.parametrize(
    "kb",
    [
        [FACT],
        (FACT,),
        FACT,
        {FACT},
        Triple(*FACT),
        dict(zip(("entity", "property", "value"), FACT, strict=True)),
        {"a": FACT}.values(),
        ListSource([FACT]),
    ],
)
def test_facts_in_memory(kb: Any) -> None:
    with as_store(kb) as store:
        assert facts(store) == [FACT]
        assert store.source is None


def test_a_generator_of_facts() -> None:
    with as_store(fact for fact in [FACT]) as store:
        assert facts(store) == [FACT]


def test_no_facts_are_an_empty_store() -> None:
    with as_store([]) as store:
        assert facts(store) == []


def test_stores_in_files(tmp_path: Path) -> None:
    path = tmp_path / "facts.db"
    KnowledgeStore.from_source([FACT], path).close()
    for kb in (path, str(path)):
        with as_store(kb) as store:
            assert store.path == path
            assert facts(store) == [FACT]
    copy = tmp_path / "copy.sqlite"
    with as_store(path, path=copy) as store:
        assert store.path == copy
        assert facts(store) == [FACT]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("facts.jsonl", LINE),
        ("facts.NDJSON", LINE),
        ("facts.csv", "entity,property,value\nAurora,launch code,QX-7719\n"),
        ("facts.tsv", "entity\tproperty\tvalue\nAurora\tlaunch code\tQX-7719\n"),
    ],
)
def test_files_of_facts(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with as_store(path) as store:
        assert facts(store) == [FACT]
        path.write_text(text.replace("QX-7719", "ZT-0042!"))
        assert store.refresh()
        assert facts(store) == [(*FACT[:2], "ZT-0042!")]


def test_files_are_added_to_a_store_in_a_file(tmp_path: Path) -> None:
    first, second, path = (tmp_path / name for name in ("a.jsonl", "b.jsonl", "facts.db"))
    first.write_text(LINE)
    second.write_text(LINE.replace("Aurora", "Borealis"))
    as_store(first, path=path).close()
    with as_store(second, path=path) as store:
        assert [fact.entity for fact in store] == ["Aurora", "Borealis"]
        assert store.source is None


def test_a_followed_source_never_empties_a_store(tmp_path: Path) -> None:
    path = tmp_path / "facts.db"
    KnowledgeStore.from_source([FACT], path).close()
    source = tmp_path / "facts.jsonl"
    source.write_text(LINE.replace("Aurora", "Borealis"))
    with pytest.raises(StoreError, match="holds facts of its own"):
        as_store(JsonlSource(source), path=path)
    with KnowledgeStore(path) as store:
        assert facts(store) == [FACT]


class Inventory:
    """A source that cannot tell whether it changed."""

    def __init__(self) -> None:
        self.codes = ["QX-7719"]
        self.reads = 0

    def triples(self) -> Iterator[Triple]:
        self.reads += 1
        yield from (Triple("Aurora", "launch code", code) for code in self.codes)

    def count(self) -> int | None:
        return None


def test_a_source_that_cannot_tell_is_read_when_told() -> None:
    inventory = Inventory()
    with as_store(inventory) as store:
        assert facts(store) == [FACT]
        inventory.codes.append("ZT-0042")
        store.catch_up()  # before an answer
        assert inventory.reads == 1
        assert store.refresh() == SyncReport(added=1)
    with as_store(inventory, follow=False) as store:
        assert store.source is None


def test_a_source_is_read_in_the_background(tmp_path: Path) -> None:
    inventory = Inventory()
    path = tmp_path / "mirror.db"
    with as_store(inventory, path=path, every=0.01) as store:
        inventory.codes.append("ZT-0042")
        end = time.monotonic() + 20
        while len(store) < 2 and time.monotonic() < end:
            time.sleep(0.01)
    with KnowledgeStore(path) as store:
        assert [fact.value for fact in store] == inventory.codes


def test_files_and_stores_are_mirrored_where_that_is_asked_for(tmp_path: Path) -> None:
    first, path = tmp_path / "a.jsonl", tmp_path / "a.db"
    first.write_text(LINE)
    with as_store(first, path=path, every=math.inf) as store:
        first.write_text(LINE.replace("Aurora", "Borealis"))
        assert store.refresh() == SyncReport(added=1, removed=1)
    with KnowledgeStore(path) as origin:
        for kb in (origin, path):
            with as_store(kb, path=tmp_path / f"{type(kb).__name__}.db", every=math.inf) as store:
                assert [fact.entity for fact in store] == ["Borealis"]
                origin.add([FACT])
                assert store.refresh().added == 1
                origin.remove(entity="Aurora")


def test_what_cannot_be_followed_is_said(tmp_path: Path) -> None:
    path = tmp_path / "facts.db"
    KnowledgeStore.from_source([FACT], path).close()
    with KnowledgeStore(path) as store:
        for kb in (store, path, [FACT]):
            with pytest.raises(ConfigError, match="every 5 s"):
                as_store(kb, every=5)
        assert len(store) == 1
    with pytest.raises(ConfigError, match="follow=False"):
        as_store(Inventory(), follow=False, every=5)


@pytest.mark.parametrize("kb", [7, None, b"facts", object(), 3.5, range, int])
def test_an_unknown_kind_is_refused_with_what_is_known(kb: Any) -> None:
    with pytest.raises(
        UnsupportedSourceError, match=r"got an object of type .*rdflib Graph"
    ) as info:
        as_store(kb)
    assert isinstance(info.value, TypeError)


def test_a_graph_of_an_unknown_package_is_not_read_as_a_list() -> None:
    class Graph:
        """Iterates over its nodes, which may happen to look like triples."""

        def __iter__(self) -> Iterator[tuple[str, str, str]]:
            return iter([FACT])

    with pytest.raises(UnsupportedSourceError, match="Graph"):
        as_store(Graph())


def test_a_file_of_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "facts.docx"
    path.touch()
    with pytest.raises(UnsupportedSourceError, match=r"facts\.docx.*\.jsonl"):
        as_store(path)
    for missing in ("none.db", "none.jsonl", "none"):
        with pytest.raises(StoreError, match=f"There is no file .*{missing}"):
            as_store(tmp_path / missing)


@pytest.mark.parametrize("kb", [[("Aurora", "launch code", "")], [7], ["Aurora"], "abc", range(3)])
def test_bad_facts_are_named(kb: Any) -> None:
    with pytest.raises((FactError, StoreError)):
        as_store(kb)


def test_a_text_that_no_file_can_be_called_by_is_no_crash() -> None:
    with pytest.raises(SourceError, match="name too long"):
        as_store("The director of Larkspur is Ines. " * 10)
    with pytest.raises(SourceError, match="name too long"):
        JsonlSource("x" * 300 + ".jsonl")
    with pytest.raises(StoreError, match="name too long"):
        KnowledgeStore("x" * 300 + ".db")


def test_public_names() -> None:
    names = kblam_integrations.sources.__all__
    assert names == sorted(names)
    assert all(getattr(kblam_integrations.sources, name) for name in names)
    with pytest.raises(AttributeError, match="nothing"):
        kblam_integrations.sources.nothing  # noqa: B018


def test_what_is_missing_is_named_with_its_extra(tmp_path: Path) -> None:
    path = tmp_path / "graph.ttl"
    path.write_text('<http://example.org/a> <http://example.org/b> "c" .')
    code = """
import sys, types
kblam = sys.modules["kblam"] = types.ModuleType("kblam")  # the rest would load torch
kblam.__path__ = [sys.argv[2]]
sys.modules["rdflib"] = None  # as if it were not installed
from kblam.errors import MissingExtraError
from kblam_integrations.sources import as_store
for read in (lambda: as_store(sys.argv[1]),
             lambda: __import__("kblam_integrations.sources", fromlist=["RdfSource"]).RdfSource):
    try:
        read()
    except MissingExtraError as error:
        assert 'pip install "kblam[rdf]"' in str(error), error
    else:
        raise SystemExit("no error")
assert len(as_store([("Aurora", "lead", "Ann")])) == 1
assert "llama_index" not in sys.modules
"""
    package = Path(sys.modules["kblam"].__file__ or "").parent
    subprocess.run([sys.executable, "-c", code, str(path), str(package)], check=True)
