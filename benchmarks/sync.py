"""What it takes to keep a store in step with a SPARQL server, beside embedding its facts alone.

    python benchmarks/sync.py --num-facts 100000 --json OUT

Made-up facts are loaded into Oxigraph's server, which this starts on loopback (pip install
"kblam[servers]"). "Encoding alone" embeds the same facts in a store that was filled from a list.
Both stores are new files; the encoder forgets what it knows before each.
"""

from __future__ import annotations

import argparse
import json
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from pyoxigraph import Literal, NamedNode, Quad

from kblam.encoding import SentenceEncoder
from kblam.knowledge import KnowledgeStore, SyncReport, Triple
from kblam.weights import DEFAULT_ENCODER
from kblam_integrations.sources import SparqlSource

_EX = "http://example.org/"
_LABEL = NamedNode("http://www.w3.org/2000/01/rdf-schema#label")
_SYLLABLES = ("al", "bor", "cen", "dra", "el", "far", "gin", "hol", "ir", "jo", "ka", "lum", "mor")
_FACTS_EACH = 5  # facts of an entity, beside its name
_TRIES = 7  # with growing pauses, 32 s in all
_TARGET_FIRST, _TARGET_SECOND = 3.0, 0.1


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """Time one call, and return its result too."""
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


def made_up(num_facts: int) -> Iterator[Quad]:
    """Entities with labels, literals and relations; the same in every run."""
    generator = random.Random(0)
    count = max(1, num_facts // _FACTS_EACH)
    terms = {name: NamedNode(f"{_EX}{name}") for name in ("code", "seats", "region", "opened")}
    for number in range(count):
        node = NamedNode(f"{_EX}e{number}")
        name = "".join(generator.choices(_SYLLABLES, k=3)).capitalize()
        yield Quad(node, _LABEL, Literal(f"{name} Station {number}"))
        yield Quad(node, terms["code"], Literal(f"{name[:2].upper()}-{generator.random():.6f}"))
        yield Quad(node, terms["seats"], Literal(str(generator.randrange(10**6))))
        yield Quad(node, terms["region"], Literal(f"region {generator.randrange(97)}"))
        yield Quad(node, terms["opened"], Literal(str(generator.randrange(1850, 2026))))
        near = NamedNode(f"{_EX}e{generator.randrange(count)}")
        yield Quad(node, NamedNode(f"{_EX}nextTo"), near)


@contextmanager
def running_server(folder: Path, quads: Iterator[Quad]) -> Iterator[str]:
    """Run Oxigraph's server with these quads, and yield its endpoint."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{probe.getsockname()[1]}"
    program = Path(sys.executable).with_name("oxigraph")
    command = [program, "serve", "--location", folder / "server", "--bind", place]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        body = "".join(f"{quad} .\n" for quad in quads).encode()
        # Asked again until the server is up.
        with httpx.Client(transport=httpx.HTTPTransport(retries=_TRIES), timeout=600) as client:
            kind = {"Content-Type": "application/n-quads"}
            client.post(f"http://{place}/store", content=body, headers=kind).raise_for_status()
        yield f"http://{place}/query"
    finally:
        process.terminate()
        process.wait()


def encoding_alone(encoder: SentenceEncoder, facts: Sequence[Triple], path: Path) -> float:
    """Seconds to embed the facts of a store that was filled from a list."""
    encoder.forget()
    with KnowledgeStore.from_source(facts, path) as store:
        return seconds(lambda: store.encode(encoder))[0]


def measure(num_facts: int, encoder_name: str) -> dict[str, Any]:
    """Take all figures."""
    encoder = SentenceEncoder(encoder_name)
    encoder.encode(["ready"])
    with (
        tempfile.TemporaryDirectory() as name,
        running_server(Path(name), made_up(num_facts)) as endpoint,
        KnowledgeStore(Path(name) / "mirror.db") as store,
    ):
        source = SparqlSource(endpoint)
        reading, facts = seconds(lambda: list(source.triples()))
        alone = encoding_alone(encoder, facts, Path(name) / "list.db")
        encoder.forget()
        first, report = seconds(lambda: store.sync(source, encoder=encoder))
        second, again = seconds(lambda: store.sync(source, encoder=encoder))
    return {
        "facts": len(facts),
        "seconds": {
            "reading alone": reading,
            "encoding alone": alone,
            "first sync": first,
            "second sync": second,
        },
        "first_sync": _counts(report),
        "second_sync": _counts(again),
        "first_to_encoding": first / alone,
        "second_to_first": second / first,
    }


def _counts(report: SyncReport) -> dict[str, int]:
    return {"added": report.added, "removed": report.removed, "embedded": report.embedded}


def report(figures: dict[str, Any]) -> None:
    """Print the figures as a table."""
    print(f"{figures['facts']:,} facts{'seconds':>20} {'embedded':>10}")
    for name, taken in figures["seconds"].items():
        embedded = figures.get(name.replace(" ", "_"), {}).get("embedded", "")
        print(f"{name:<20} {taken:>12.2f} {embedded:>10}")
    for what, ratio, target in (
        ("first sync / encoding alone", figures["first_to_encoding"], _TARGET_FIRST),
        ("second sync / first sync", figures["second_to_first"], _TARGET_SECOND),
    ):
        print(f"{what:<28} {ratio:.3f} (at most {target:g} {'met' * (ratio <= target)})")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print a table, and write the figures."""
    parser = argparse.ArgumentParser(description="What keeping in step with a server takes.")
    parser.add_argument("--num-facts", type=int, default=100_000, help="facts on the server")
    parser.add_argument("--encoder", default=DEFAULT_ENCODER, help="a sentence encoder")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures to this file")
    parsed = parser.parse_args(arguments)
    figures = measure(parsed.num_facts, parsed.encoder)
    report(figures)
    if parsed.json is not None:
        parsed.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
