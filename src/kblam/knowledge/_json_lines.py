"""Files with one JSON value a line: facts, and what else is read as they are."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kblam.knowledge._files import reading

__all__ = ["json_lines", "parse_json"]


def json_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines that hold anything, each with its number, counted from 1.

    Raises:
        SourceError: The file cannot be read, or is not UTF-8.
    """
    # utf-8-sig takes UTF-8 with and without a mark at its beginning.
    with reading(path), path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield number, line


def parse_json(
    text: str,
    *,
    parse_float: Callable[[str], Any] | None = None,
    parse_constant: Callable[[str], Any] | None = None,
) -> Any:
    """Parse JSON of any origin; the arguments are those of :func:`json.loads`.

    Raises:
        ValueError: It is no JSON, has a whole number of thousands of digits, or lists within
            lists deeper than can be read.
    """
    try:
        return json.loads(text, parse_float=parse_float, parse_constant=parse_constant)
    except RecursionError as error:
        raise ValueError("lists within lists, deeper than can be read") from error
