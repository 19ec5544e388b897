"""``kblam index``: facts into a store, embedded and ready to be asked."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from kblam.cli._console import results
from kblam.cli._stores import STORE_SUFFIXES, load_into
from kblam.errors import ConfigError
from kblam.knowledge import CsvSource, KnowledgeStore

__all__ = ["index"]


def index(
    source: Annotated[
        Path, typer.Argument(help="Facts to read: .jsonl, .csv, .ttl and other RDF, or a store.")
    ],
    store: Annotated[Path, typer.Argument(help="The store to write, STORE.db. Facts are added.")],
    encode: Annotated[
        bool, typer.Option(help="Embed the facts now; else the first question does.")
    ] = True,
    encoder: Annotated[
        str | None,
        typer.Option(
            help="Folder or name of the sentence encoder. The default is all-MiniLM-L6-v2.",
            show_default=False,
        ),
    ] = None,
    entity: Annotated[str, typer.Option(help="Column of the entity, for .csv.")] = "entity",
    property_: Annotated[
        str, typer.Option("--property", help="Column of the property, for .csv.")
    ] = "property",
    value: Annotated[str, typer.Option(help="Column of the value, for .csv.")] = "value",
) -> None:
    """Read facts into a knowledge store and embed them."""
    if store.suffix.lower() not in STORE_SUFFIXES:
        raise ConfigError(
            f"Expected the store's name to end in {' or '.join(STORE_SUFFIXES)}, "
            f"got {store.name!r}. Use, for example: kblam index {source} {store.stem}.db"
        )
    started = time.perf_counter()
    columns = (entity, property_, value)
    if columns != ("entity", "property", "value"):
        table = CsvSource(source, entity=entity, property=property_, value=value)
        knowledge = KnowledgeStore.from_source(table, store, progress=True)
    else:
        knowledge = load_into(source, store)
    with knowledge:
        embedded = _embed(knowledge, encoder) if encode else 0
        _report(knowledge, store, embedded, time.perf_counter() - started)


def _embed(knowledge: KnowledgeStore, encoder: str | None) -> int:
    from kblam.encoding import SentenceEncoder
    from kblam.weights import DEFAULT_ENCODER

    return knowledge.encode(SentenceEncoder(encoder or DEFAULT_ENCODER), progress=True)


def _report(knowledge: KnowledgeStore, path: Path, embedded: int, seconds: float) -> None:
    line = f"{path}: {len(knowledge):,} facts, {embedded:,} embedded now, {seconds:.1f} s"
    results.print(Text(line), soft_wrap=True)
