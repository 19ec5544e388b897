"""What an object of another package is wrapped around."""

from __future__ import annotations

from typing import Any, TypeVar

__all__ = ["held"]

_T = TypeVar("_T")


def held(kb: Any, kind: type[_T], *attributes: str) -> _T | None:
    """Return the object itself or what it holds under one of these attributes.

    Only what is stored is looked at: a property might connect to a server, or raise.

    Args:
        kb: Any object.
        kind: What is looked for.
        attributes: Where, the most likely first.
    """
    if isinstance(kb, kind):
        return kb
    own = getattr(kb, "__dict__", {})
    return next((own[name] for name in attributes if isinstance(own.get(name), kind)), None)
