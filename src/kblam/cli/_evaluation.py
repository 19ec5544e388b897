"""What ``kblam evaluate`` prints, and the suite behind it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from kblam.cli._console import print_json, results
from kblam.errors import ConfigError

__all__ = ["check_output", "report", "run_suite"]

SUITE_METRICS = (
    "recall_at_1",
    "contains",
    "refusal_precision",
    "refusal_recall",
    "seconds_per_question",
)


def run_suite(
    folder: Path,
    questions: Path,
    sizes: str | None,
    methods: str | None,
    top_k: list[int] | None,
    settings: dict[str, Any],
) -> None:
    """Run a suite and print its main figures.

    Args:
        folder: Where the suite is.
        questions: The questions' file.
        sizes: As given, such as ``100,1000,all``; None keeps the default.
        methods: As given, such as ``kblam,rag``; None keeps the default.
        top_k: Of `rag` and `bm25`; None keeps the default.
        settings: All others.

    Raises:
        ConfigError: A size is no number, or a setting cannot be used.
    """
    from kblam.evaluation import SuiteConfig
    from kblam.evaluation import run_suite as run

    if sizes is not None:
        settings["sizes"] = tuple(map(_size, sizes.split(",")))
    if methods is not None:
        settings["methods"] = tuple(name.strip() for name in methods.split(","))
    if top_k is not None:
        settings["top_k"] = tuple(top_k)
    config = SuiteConfig(questions=questions, output=folder, **settings)
    outcome = run(config)
    table = Table(title=f"Suite in {folder}", title_justify="left")
    table.add_column("Method")
    for name in ("facts", *SUITE_METRICS):
        table.add_column(name.replace("_", " "), justify="right")
    for row in outcome["questions"]:
        facts = "-" if row["method"] == "base" else f"{row['num_facts']:,}"
        table.add_row(row["label"], facts, *(_number(row[name]) for name in SUITE_METRICS))
    results.print(table)
    if outcome["preservation"] is not None:
        kept = outcome["preservation"]
        results.print(
            f"With {kept['num_facts']:,} facts attached: KL to the base "
            f"{kept['kl_per_token']:.4f} nats per token, {kept['identical']:.0%} of the replies "
            f"identical, {kept['refused']:.0%} refused."
        )
    # A path that is broken in two cannot be copied.
    results.print(
        Text(f"Tables: {folder / 'results.md'}; figures: {folder / 'results.json'}; plots beside."),
        soft_wrap=True,
    )


def _size(text: str) -> int | None:
    text = text.strip()
    if text == "all":
        return None
    if not text.isdecimal():
        raise ConfigError(f"Expected --sizes like 100,1000,all, got {text!r} in it.")
    return int(text)


def check_output(output: Path | None) -> None:
    """See that what is to be measured can be written, before hours of work.

    Args:
        output: As for :func:`report`; folders that it lacks are made.

    Raises:
        OSError: The file cannot be written.
    """
    if output is None or str(output) == "-":
        return
    output.parent.mkdir(parents=True, exist_ok=True)
    is_new = not output.exists()
    output.open("a", encoding="utf-8").close()
    if is_new:
        output.unlink()


def report(
    outcome: dict[str, Any], title: str, metrics: tuple[str, ...], output: Path | None
) -> None:
    """Print a table of figures and write them to a file, or print all of them as JSON.

    Args:
        outcome: A result as JSON-able values.
        title: Of the table.
        metrics: Which figures the table has.
        output: The file; ``-`` prints JSON in place of the table; None writes nothing.
    """
    if output is not None and str(output) == "-":
        print_json(outcome)
        return
    table = Table(title=title, title_justify="left")
    table.add_column("Measure")
    table.add_column("Value", justify="right")
    table.add_column("95 % interval", justify="right")
    for name in metrics:
        ends = outcome["intervals"].get(name)
        interval = "" if ends is None else f"{ends[0]:,.3f} to {ends[1]:,.3f}"
        table.add_row(name.replace("_", " "), _number(outcome[name]), interval)
    results.print(table)
    if output is not None:
        output.write_text(json.dumps(outcome, indent=2) + "\n", encoding="utf-8")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.3f}"
