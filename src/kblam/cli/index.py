"""``kblam index``: facts into a store, embedded and ready to be asked."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from kblam.cli._console import results
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
from kblam.knowledge import KnowledgeStore

__all__ = ["index"]


def index(
    source: Annotated[
        Path,
        typer.Argument(
            help="Facts to read: .jsonl, .csv, .ttl and other RDF, a store, a SPARQL address."
        ),
    ],
    store: Annotated[Path, typer.Argument(help="The store to write, STORE.db. Facts are added.")],
    encode: Annotated[
        bool, typer.Option(help="Embed the facts now; else the first question does.")
    ] = True,
    encoder: FactEncoderOption = None,
    vectors: VectorsOption = None,
    entity: EntityColumn = "entity",
    property_: PropertyColumn = "property",
    value: ValueColumn = "value",
    wide: Wide = False,
    delimiter: Delimiter = None,
) -> None:
    """Read facts into a knowledge store and embed them."""
    expect_store_name(store, f"kblam index {source}")
    table = Table(entity, property_, value, wide, delimiter)
    started = time.perf_counter()
    with ExitStack() as opened:
        facts = open_source(source, table)
        expect_facts(facts, store)
        if isinstance(facts, KnowledgeStore):
            opened.enter_context(facts)
        knowledge = opened.enter_context(KnowledgeStore(store))
        added = knowledge.add(facts, progress=True)
        if vectors is not None:
            knowledge.convert_vectors(vectors.value)
        embedded = knowledge.encode(fact_encoder(encoder), progress=True) if encode else 0
        line = f"{len(knowledge):,} facts, {added:,} new, {embedded:,} embedded"
    seconds = time.perf_counter() - started
    results.print(Text(f"{store}: {line}, {seconds:.1f} s"), soft_wrap=True)
