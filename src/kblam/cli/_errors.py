"""One clear message instead of a traceback, for what a person can put right."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import typer
from rich.text import Text

from kblam.cli._console import errors
from kblam.errors import KBLaMError

__all__ = ["FAILURE", "clear_errors"]

FAILURE = 2

_P = ParamSpec("_P")
_T = TypeVar("_T")


def clear_errors(command: Callable[_P, _T]) -> Callable[_P, _T]:
    """Print a `KBLaMError` as one message on standard error and exit with code 2.

    Any other exception is a defect and keeps its traceback.
    """

    @functools.wraps(command)
    def guarded(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return command(*args, **kwargs)
        except KBLaMError as error:
            message = Text.assemble(("Error: ", "bold red"), str(error))
            errors.print(message, soft_wrap=True)
            raise typer.Exit(FAILURE) from error

    return guarded
