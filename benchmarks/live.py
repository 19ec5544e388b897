"""What following a source takes: time and memory of a synchronisation, and of answers meanwhile.

    python benchmarks/live.py --num-facts 100000 --new 500 --json OUT

First a store in a file is synchronised with a source of made-up facts that cannot tell whether it
changed: anew, unchanged, and with 1 % changed, without embedding. Then the bundled model answers
from 1,000 facts that are followed in the background while new ones come: embedded before they are
written, as stores do, and embedded by the answer that reads them first.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import tempfile
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from kblam.config import GenerationOptions
from kblam.knowledge import KnowledgeStore, Triple
from kblam.model import KBLaM

_FOLLOWED = 1000
_EVERY = 0.2  # seconds
_QUESTION = "What is the opening year of Station 7?"


class Stations:
    """A source that cannot tell whether it changed."""

    def __init__(self, count: int) -> None:
        self.held = count
        self.turn = 0

    def triples(self) -> Iterator[Triple]:
        """Make the facts; every hundredth differs from turn to turn."""
        for i in range(self.held):
            turn = self.turn if i % 100 == 0 else 0
            about = {"subject": f"http://example.org/{i}"}
            yield Triple(
                f"Station {i}", "opening year", f"{1800 + i % 200}, {i}.{turn}", None, about
            )

    def count(self) -> None:
        """Do not tell."""


class _NotKnown(KnowledgeStore):
    """Knows no encoder, so that whoever reads new facts first embeds them."""

    def _know(self, embedder: Any) -> None:
        self._embedders = weakref.WeakValueDictionary()


def seconds(run: Callable[[], object]) -> float:
    """Return how long something takes."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def synchronising(count: int) -> dict[str, float]:
    """Synchronise a store in a file, and tell seconds and megabytes that the process grew by."""
    source = Stations(count)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as folder, KnowledgeStore(Path(folder) / "a.db") as store:
        figures = {
            "reading the source": seconds(lambda: sum(1 for _ in source.triples())),
            "first": seconds(lambda: store.sync(source)),
            "unchanged": seconds(lambda: store.sync(source)),
        }
        source.turn = 1
        figures["1 % changed"] = seconds(lambda: store.sync(source))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {**figures, "megabytes": grown / 1024}


def answering(model: KBLaM, store: KnowledgeStore, new: int) -> dict[str, float]:
    """Answer one question again and again while facts come."""
    source, short = Stations(_FOLLOWED), GenerationOptions(max_new_tokens=16)
    with store:
        store.follow(source, every=_EVERY)
        model.attach(store)
        for _ in range(3):
            model.ask(_QUESTION, short)
        alone = [seconds(lambda: model.ask(_QUESTION, short)) for _ in range(10)]
        source.held += new
        started, meanwhile, seen = time.perf_counter(), [], False
        while not seen:
            meanwhile.append(seconds(lambda: model.ask(_QUESTION, short)))
            seen = len(store) == source.held
        return {
            "median before": statistics.median(alone),
            "median meanwhile": statistics.median(meanwhile),
            "longest meanwhile": max(meanwhile),
            "answers meanwhile": len(meanwhile),
            "until the new facts were read": time.perf_counter() - started,
        }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write the figures."""
    parser = argparse.ArgumentParser(description="What following a source takes.")
    parser.add_argument("--num-facts", type=int, default=100_000, help="facts to synchronise")
    parser.add_argument("--new", type=int, default=500, help="facts that come while it answers")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures to this file")
    parsed = parser.parse_args(arguments)
    figures: dict[str, dict[str, float]] = {"synchronising": synchronising(parsed.num_facts)}
    model = KBLaM.from_pretrained()
    for name, kind in (("embedded ahead", KnowledgeStore), ("by the reader", _NotKnown)):
        figures[name] = answering(model, kind(), parsed.new)
    for part, values in figures.items():
        print(part)
        for what, value in values.items():
            print(f"  {what:<32} {value:10.2f}")
    if parsed.json is not None:
        parsed.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
