"""``kblam sync``: a store that says what a source says, once or for as long as it runs."""

from __future__ import annotations

import math
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from kblam.cli._console import errors, results
from kblam.cli._options import (
    Delimiter,
    EntityColumn,
    FactEncoderOption,
    PropertyColumn,
    ValueColumn,
    VectorsOption,
    Wide,
    fact_encoder,
)
from kblam.cli._stores import Table, expect_facts, expect_store_name, open_source
from kblam.knowledge import Following, KnowledgeStore, SyncReport, TripleSource

__all__ = ["sync"]

# How often what happens in the background is looked at (seconds).
_LOOK = 0.2


def sync(
    source: Annotated[
        Path,
        typer.Argument(
            help="What to follow: .jsonl, .csv, .ttl and other RDF, a store, a SPARQL address."
        ),
    ],
    store: Annotated[
        Path, typer.Argument(help="The store to write, STORE.db. It holds SOURCE's facts only.")
    ],
    every: Annotated[
        float | None,
        typer.Option(min=0.001, help="Go on until stopped, and read SOURCE every so many seconds."),
    ] = None,
    encode: Annotated[
        bool, typer.Option(help="Embed what is new now; else the first question does.")
    ] = True,
    encoder: FactEncoderOption = None,
    vectors: VectorsOption = None,
    allow_empty: Annotated[
        bool, typer.Option("--allow-empty", help="Empty STORE where SOURCE gives no facts.")
    ] = False,
    entity: EntityColumn = "entity",
    property_: PropertyColumn = "property",
    value: ValueColumn = "value",
    wide: Wide = False,
    delimiter: Delimiter = None,
) -> None:
    """Make a knowledge store say what a source says, no more and no less.

    Only what changed is embedded. Others may ask the store meanwhile.
    """
    expect_store_name(store, f"kblam sync {source}")
    table = Table(entity, property_, value, wide, delimiter)
    with ExitStack() as opened:
        facts: TripleSource = open_source(source, table)
        expect_facts(facts, store)
        if isinstance(facts, KnowledgeStore):
            opened.enter_context(facts)
            facts = facts.source or facts
        embedder = fact_encoder(encoder) if encode else None
        knowledge = opened.enter_context(KnowledgeStore(store))
        started = time.perf_counter()
        pause = math.inf if every is None else every
        report = knowledge.follow(facts, every=pause, encoder=embedder, allow_empty=allow_empty)
        if vectors is not None:
            # Not before: what could not be followed leaves the store as it was.
            knowledge.convert_vectors(vectors.value)
        seen = knowledge.following or Following(every)
        _tell(knowledge, report, f", {time.perf_counter() - started:.1f} s")
        if every is not None:
            _watch(knowledge, seen)


def _watch(store: KnowledgeStore, seen: Following) -> None:
    """Tell of changes and failures since a state until somebody stops the command."""
    try:
        while True:
            time.sleep(_LOOK)
            now = store.following or seen
            if now.failures and now.failures != seen.failures:
                errors.print(Text.assemble(("Error: ", "bold red"), str(now.error)), soft_wrap=True)
            if now.report is not seen.report:
                _tell(store, now.report, time.strftime(", %H:%M:%S"))
            seen = now
    except KeyboardInterrupt:
        return


def _tell(store: KnowledgeStore, report: SyncReport, when: str) -> None:
    line = (
        f"{store.path and store.path.name}: {len(store):,} facts, {report.added:,} added, "
        f"{report.changed:,} changed, {report.removed:,} removed, {report.embedded:,} embedded"
    )
    results.print(Text(line + when), soft_wrap=True)
