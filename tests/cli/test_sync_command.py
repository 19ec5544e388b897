"""``kblam sync``, once and for as long as it runs."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from kblam.knowledge import KnowledgeStore

LINE = {"entity": "Aurora", "property": "launch code", "value": "QX-7719"}


@pytest.mark.weights
def test_sync_embeds_what_changed_and_removes_what_is_gone(kblam, facts_file, tmp_path):
    store = tmp_path / "facts.db"
    output = kblam("sync", facts_file, store).output
    assert "3 facts, 3 added, 0 changed, 0 removed, 3 embedded" in output
    assert (
        "3 facts, 0 added, 0 changed, 0 removed, 0 embedded"
        in kblam("sync", facts_file, store).output
    )
    facts_file.write_text(json.dumps({**LINE, "value": "ZT-0042"}), encoding="utf-8")
    output = kblam("sync", facts_file, store).output
    assert "1 facts, 1 added, 0 changed, 3 removed, 1 embedded" in output
    with KnowledgeStore(store) as opened:
        assert len(opened.vectors("all-MiniLM-L6-v2")) == 1


def test_sync_reads_graphs_and_stores(kblam, tmp_path):
    graph, store, copy = (tmp_path / name for name in ("graph.ttl", "graph.db", "copy.db"))
    graph.write_text('@prefix ex: <http://e.org/> . ex:Ada ex:bornIn "London" .', encoding="utf-8")
    kblam("sync", graph, store, "--no-encode")
    assert "1 added" in kblam("sync", store, copy, "--no-encode").output
    with KnowledgeStore(copy) as opened:
        assert [fact.value for fact in opened] == ["London"]


def test_sync_keeps_facts_of_somebody_else(kblam, facts_file, tmp_path):
    store = tmp_path / "facts.db"
    kblam("index", facts_file, store, "--no-encode")
    assert "holds facts of its own" in kblam("sync", facts_file, store, code=2).output
    assert "end in .db" in kblam("sync", facts_file, tmp_path / "facts.txt", code=2).output
    zero = kblam("sync", facts_file, tmp_path / "b.db", "--no-encode", "--every", "0", code=2)
    assert "--every" in zero.output
    assert not (tmp_path / "b.db").exists()


def test_sync_that_failed_at_first_keeps_what_was_added_since(kblam, facts_file, tmp_path):
    store, broken = tmp_path / "facts.db", tmp_path / "broken.jsonl"
    broken.write_text('{"entity": "Aurora"}\n', encoding="utf-8")
    kblam("sync", broken, store, "--no-encode", code=2)
    kblam("index", facts_file, store, "--no-encode")
    broken.write_text(json.dumps(LINE), encoding="utf-8")
    output = kblam("sync", broken, store, "--no-encode", code=2).output
    assert "holds facts of its own" in output
    with KnowledgeStore(store) as opened:
        assert len(opened) == 3


def test_sync_empties_a_store_only_when_told(kblam, facts_file, tmp_path):
    store = tmp_path / "facts.db"
    kblam("sync", facts_file, store, "--no-encode")
    facts_file.write_text("", encoding="utf-8")
    assert "gave none" in kblam("sync", facts_file, store, "--no-encode", code=2).output
    assert "3 removed" in kblam("sync", facts_file, store, "--no-encode", "--allow-empty").output


@pytest.mark.skipif(sys.platform == "win32", reason="another way to interrupt")
@contextmanager
def ended(process: subprocess.Popen[str]) -> Iterator[None]:
    """End a process with the block, which would else be waited for after a failure."""
    try:
        yield
    finally:
        process.kill()


def test_sync_goes_on_until_it_is_stopped(facts_file, tmp_path):
    store = tmp_path / "facts.db"
    command = [sys.executable, "-m", "kblam.cli", "sync", facts_file, store]
    with (
        subprocess.Popen(
            [*command, "--no-encode", "--every", "0.05"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # Whoever runs the tests in the background may have it ignored, which is inherited.
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        ) as process,
        ended(process),
    ):
        assert process.stdout is not None
        assert process.stderr is not None
        assert "3 facts, 3 added" in process.stdout.readline()
        with facts_file.open("a", encoding="utf-8") as file:
            file.write("\n" + json.dumps(LINE | {"value": "ZT-0042"}) + "\n")
        assert "4 facts, 1 added" in process.stdout.readline()
        content = facts_file.read_text("utf-8")
        facts_file.unlink()
        assert "facts.jsonl" in process.stderr.readline()
        facts_file.write_text(content.rpartition("{")[0], encoding="utf-8")
        assert "3 facts, 0 added, 0 changed, 1 removed" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    with KnowledgeStore(store) as opened:
        assert len(opened) == 3
