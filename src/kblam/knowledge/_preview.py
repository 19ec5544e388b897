"""A store as notebooks show it."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from itertools import islice

from kblam import _html
from kblam.knowledge.triple import Fact

__all__ = ["preview"]

_SHOWN = 10
_LONGEST = 200  # characters of a value


def preview(facts: Iterable[Fact], count: int, place: str) -> str:
    """How many facts there are and the first of them, as HTML.

    Args:
        facts: From the first on.
        count: How many there are.
        place: Where they are kept.
    """
    shown = islice(facts, _SHOWN)
    rows = [(escape(f.entity), escape(f.property), escape(_cut(f.value))) for f in shown]
    more = f"and {count - _SHOWN:,} more" if count > _SHOWN else ""
    return _html.box(
        escape(f"{count:,} facts in {place}"),
        _html.table(rows, header=("entity", "property", "value")) if rows else "",
        _html.note(more) if more else "",
    )


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
