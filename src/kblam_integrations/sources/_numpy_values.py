"""NumPy's arrays, numbers, dates and lengths of time as Python's."""

from __future__ import annotations

from typing import Any

import numpy as np

from kblam_integrations.sources._durations import duration_words

__all__ = ["as_python"]


def as_python(value: Any) -> Any:
    """Return an array as a list, and what is single as Python has it.

    Python's dates and lengths of time end at microseconds and begin at the year 1: what has more
    becomes text, and what is no time None.

    Args:
        value: Whatever has ``tolist``.
    """
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    if kind not in ("M", "m"):
        return value.tolist()
    if value.ndim:
        return [as_python(item) for item in value]
    single = value[()]  # also of an array without dimensions
    if np.isnat(single):
        return None
    plain = single.tolist()
    if not isinstance(plain, int):
        return plain
    return _moment(single) if kind == "M" else _length(single)


def _moment(moment: np.datetime64) -> str:
    text = str(moment)
    return text.rstrip("0").rstrip(".") if "." in text else text


def _length(length: np.timedelta64) -> str:
    unit, step = np.datetime_data(length.dtype)
    if unit == "generic":
        return str(int(length.astype(int)))
    if unit in ("Y", "M"):
        return duration_words(months=int(length.astype(int)) * step * (12 if unit == "Y" else 1))
    sign = -1 if length < np.timedelta64(0) else 1
    days, rest = divmod(abs(length), np.timedelta64(1, "D"))
    seconds = float(rest / np.timedelta64(1, "s"))
    return duration_words(days=sign * int(days), seconds=sign * seconds)
