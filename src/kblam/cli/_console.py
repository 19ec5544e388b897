"""Where the command line writes: results to standard output, everything else to standard error."""

from __future__ import annotations

import io
import json
import sys
from typing import Any

from rich.console import Console

__all__ = ["errors", "print_json", "results", "write_any_text"]

results = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


def print_json(data: Any) -> None:
    """Print JSON-able values, in signs that standard output can show."""
    plain = not results.encoding.lower().startswith("utf")
    results.print_json(json.dumps(data), ensure_ascii=plain)


def write_any_text() -> None:
    """Let signs that standard output and error cannot show be written by their numbers."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
