"""One clear message instead of a traceback, for what a person can put right."""

from __future__ import annotations

import errno
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

    So is what the system does not allow: a folder that may not be entered, a full disk. Any other
    exception is a defect and keeps its traceback.
    """

    @functools.wraps(command)
    def guarded(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return command(*args, **kwargs)
        except KBLaMError as error:
            raise _failed(str(error)) from error
        except OSError as error:
            if error.errno == errno.EPIPE:  # who read the output has seen enough
                raise
            place = "" if error.filename is None else f" {str(error.filename)!r:.200}"
            said = error.strerror or str(error)
            raise _failed(f"Expected to read or write{place}, got: {said}.") from error

    return guarded


def _failed(said: str) -> typer.Exit:
    errors.print(Text.assemble(("Error: ", "bold red"), said), soft_wrap=True)
    return typer.Exit(FAILURE)
