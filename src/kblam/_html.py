"""HTML for notebooks: plain tables that look right on light and dark pages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

__all__ = ["bar", "box", "marked", "note", "table"]

# Colours are mixed into whatever the page has: half transparent, never a background of its own.
_MARK = "background:rgba(66,133,244,.25);border-radius:3px;padding:0 2px"
_CELL = "text-align:left;vertical-align:top;padding:2px 10px 2px 0"
_MUTED = "opacity:.65;font-size:90%"


def box(*parts: str) -> str:
    """Put parts of HTML below each other."""
    inner = "".join(f"<div>{part}</div>" for part in parts if part)
    return f'<div style="line-height:1.45;max-width:60em">{inner}</div>'


def note(text: str) -> str:
    """Return text in a quieter voice."""
    return f'<span style="{_MUTED}">{escape(text)}</span>'


def table(rows: Iterable[Sequence[str]], *, header: Sequence[str] = ()) -> str:
    """Return a table.

    Args:
        rows: Cells of HTML: escape what comes from outside.
        header: Plain text.
    """
    head = "".join(f'<th style="{_CELL};{_MUTED}">{escape(name)}</th>' for name in header)
    body = "".join(
        "<tr>" + "".join(f'<td style="{_CELL}">{cell}</td>' for cell in row) + "</tr>"
        for row in rows
    )
    thead = f"<thead><tr>{head}</tr></thead>" if header else ""
    style = "border-collapse:collapse;margin:.4em 0"
    return f'<table style="{style}">{thead}<tbody>{body}</tbody></table>'


def bar(share: float) -> str:
    """Return a share from 0 to 1 as a bar with its number."""
    width = max(0.0, min(1.0, share)) * 4
    return (
        f'<span style="display:inline-block;height:.7em;width:{width:.2f}em;'
        f'background:rgba(66,133,244,.7);margin-right:.4em"></span>{share:.2f}'
    )


def marked(text: str, spans: Iterable[tuple[int, int, str]]) -> str:
    """Return text with some of its characters marked.

    Args:
        text: Plain text.
        spans: First character, one past the last, and what is shown to whoever points at them.
            Of those that overlap, the first is marked.
    """
    parts, done = [], 0
    for start, end, title in sorted(spans):
        if start < done or end > len(text):
            continue
        parts.append(escape(text[done:start]))
        parts.append(
            f'<span style="{_MARK}" title="{escape(title)}">{escape(text[start:end])}</span>'
        )
        done = end
    parts.append(escape(text[done:]))
    return "".join(parts).replace("\n", "<br>")
