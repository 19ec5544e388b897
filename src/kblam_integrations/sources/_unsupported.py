"""The error for what no source reads."""

from __future__ import annotations

from typing import Any

from kblam.errors import UnsupportedSourceError

__all__ = ["unsupported"]


def unsupported(kb: Any, lead: str, supported: str) -> UnsupportedSourceError:
    """Return the error for an object that no source reads.

    Args:
        kb: The object.
        lead: Where it was met; the sentence goes on with the object's type.
        supported: What could be read in its place.
    """
    kind = f"{type(kb).__module__}.{type(kb).__qualname__}"
    return UnsupportedSourceError(
        f"{lead}an object of type {kind}, which no source reads. Supported: {supported}. "
        "Anything else can be read by a class of your own with triples() and count()."
    )
