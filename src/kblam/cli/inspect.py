"""``kblam inspect``: what is in a store, and what in it would never be read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from kblam.cli._console import print_json, results
from kblam.cli._stores import open_existing
from kblam.knowledge import KnowledgeStore, StoreReport

__all__ = ["inspect"]


def inspect(
    store: Annotated[Path, typer.Argument(help="A store made by 'kblam index'.")],
    encoder: Annotated[
        str, typer.Option(help="Count the facts that this encoder has embedded.")
    ] = "all-MiniLM-L6-v2",
    limit: Annotated[int, typer.Option(min=1, help="Show this many properties.")] = 15,
    ask: Annotated[
        int,
        typer.Option(
            min=0,
            help="Ask the default model for so many facts, drawn at random, and show those that "
            "it does not select.",
        ),
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
) -> None:
    """Show a store's facts, properties, doubles, vectors, size and fingerprint."""
    with open_existing(store) as knowledge:
        report = knowledge.report()
        summary = _summarise(knowledge, store, encoder, report)
        check = None
        if ask:
            from kblam.model import KBLaM
            from kblam.selection_check import check_selection

            model = KBLaM.from_pretrained().attach(knowledge)
            check = check_selection(model, limit=ask, progress=not as_json)
    if as_json:
        if check is not None:
            summary["selection"] = check.to_dict()
        print_json(summary)
        return
    _print_summary(summary, limit)
    for name, text in report.oddities():  # the tables show the rest
        results.print(Text(f"{name}: {text}"))
    if check is not None:
        results.print(Text(str(check)))


def _summarise(
    knowledge: KnowledgeStore, path: Path, encoder: str, report: StoreReport
) -> dict[str, Any]:
    return {
        "path": str(path),
        **report.to_dict(),
        "encoder": encoder,
        "embedded": len(knowledge.vectors(encoder)),
        "changes": knowledge.sequence,
        "fingerprint": knowledge.fingerprint,
        "bytes": sum(
            part.stat().st_size
            for part in (path, path.with_name(path.name + "-wal"))
            if part.exists()
        ),
    }


def _print_summary(summary: dict[str, Any], limit: int) -> None:
    overview = Table.grid(padding=(0, 2))
    overview.add_row("Store", Text(summary["path"], overflow="fold"))
    for name in ("facts", "entities", "changes"):
        overview.add_row(name.capitalize(), f"{summary[name]:,}")
    overview.add_row("Properties", f"{len(summary['properties']):,}")
    overview.add_row(
        "Embedded", f"{summary['embedded']:,} of {summary['facts']:,} by {summary['encoder']}"
    )
    overview.add_row("Size", f"{summary['bytes'] / 1e6:,.1f} MB")
    overview.add_row("Fingerprint", summary["fingerprint"])
    results.print(overview)
    table = Table()
    table.add_column("Property", overflow="fold")
    table.add_column("Facts", justify="right")
    for name, count in list(summary["properties"].items())[:limit]:
        table.add_row(Text(name), f"{count:,}")
    if len(summary["properties"]) > limit:
        table.caption = f"and {len(summary['properties']) - limit:,} more"
    results.print(table)
