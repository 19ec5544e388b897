"""The progress bar of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

__all__ = ["bar"]


@contextmanager
def bar(name: str, total: int, todo: int, *, show: bool) -> Iterator[Callable[[], None]]:
    """Show how far a run is, on standard error.

    Args:
        name: What is counted.
        total: How many there are.
        todo: How many of them are still to come.
        show: Whether to show anything.

    Returns:
        What to call after each.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not show) as shown:
        task = shown.add_task(name, total=total, completed=total - todo)
        yield lambda: shown.advance(task)
