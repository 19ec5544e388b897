"""The command line: ``kblam index``, ``extract``, ``ask``, ``evaluate`` and others."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from kblam.cli._console import results, write_any_text
from kblam.cli._errors import clear_errors
from kblam.cli.ask import ask
from kblam.cli.evaluate import evaluate
from kblam.cli.extract import extract
from kblam.cli.index import index
from kblam.cli.inspect import inspect
from kblam.cli.sync import sync
from kblam.cli.train import train

__all__ = ["app"]

app = typer.Typer(
    name="kblam",
    help="Facts as knowledge tokens inside a frozen language model.",
    no_args_is_help=True,
    # A traceback that a person reports should be the plain one.
    pretty_exceptions_enable=False,
)


def _show_version(asked: bool) -> None:
    if asked:
        results.print(version("kblam"))
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[  # noqa: ARG001  # its callback has read it
        bool,
        typer.Option(
            "--version", help="Show the version and exit.", callback=_show_version, is_eager=True
        ),
    ] = False,
) -> None:
    write_any_text()


for command in (index, extract, sync, ask, inspect, train, evaluate):
    app.command()(clear_errors(command))
