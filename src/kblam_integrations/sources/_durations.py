"""Lengths of time in words."""

from __future__ import annotations

__all__ = ["duration_words"]


def duration_words(*, months: int = 0, days: int = 0, seconds: float = 0) -> str:
    """Return a length of time in words, such as ``1 year 2 months 3 hours``."""
    parts = [
        *zip(_split(months, 12), ("year", "month"), strict=True),
        (days, "day"),
        *zip(_split(seconds, 3600), ("hour", ""), strict=True),
    ]
    rest = parts.pop()[0]
    parts += zip(_split(rest, 60), ("minute", "second"), strict=True)
    words = [f"{n:.9g} {unit}{'' if abs(n) == 1 else 's'}" for n, unit in parts if n]
    return " ".join(words) or "0 seconds"


def _split(amount: float, size: int) -> tuple[float, float]:
    """Split an amount into whole larger units and the rest, both with its sign."""
    sign = -1 if amount < 0 else 1
    whole, rest = divmod(abs(amount), size)
    return sign * whole, sign * rest
