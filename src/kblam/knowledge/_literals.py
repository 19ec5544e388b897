"""Numbers, truth values and moments as the texts that facts hold."""

from __future__ import annotations

import json
import math
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

import numpy as np

__all__ = ["literal_text"]


def literal_text(value: Any) -> str | None:
    """Return a number, a truth value, a date or a time as its text.

    A ``Decimal`` keeps every digit. Dates and times are as ISO 8601 writes them, a moment with a
    space between both. NumPy's numbers are as Python's.

    Args:
        value: A value of any kind.

    Returns:
        The text; "" for NaN, infinity and pandas' NaT, which say nothing; None for what is none of
        these.
    """
    # Lengths of time are integers to numpy, but say no number without their unit.
    if isinstance(value, (np.bool_, np.integer, np.floating)) and value.dtype.kind != "m":
        value = value.item()
    if isinstance(value, Decimal):
        return f"{value:f}" if value.is_finite() else ""
    if isinstance(value, (bool, int, float)):
        return "" if isinstance(value, float) and not math.isfinite(value) else json.dumps(value)
    if isinstance(value, datetime):
        # NaT is a datetime that, as NaN, does not equal itself.
        return value.isoformat(sep=" ") if value == value else ""
    if isinstance(value, (date, time)):
        return value.isoformat()
    return None
