"""What callers ask for, as SQLite takes it."""

from __future__ import annotations

import operator

from kblam.errors import ConfigError
from kblam.knowledge.triple import is_unicode

__all__ = ["may_be_stored", "whole_number"]

# SQLite counts no further.
_LARGEST = 2**63 - 1


def may_be_stored(*parts: object) -> bool:
    """Whether a fact can have these parts: SQLite is not asked for a text that none can have."""
    return all(is_unicode(part) for part in parts if isinstance(part, str))


def whole_number(name: str, number: int) -> int:
    """Return a number; one beyond all that there can be as the largest that SQLite takes.

    Args:
        name: Whose it is, for the message.
        number: As the caller gave it.

    Raises:
        ConfigError: It is no whole number.
    """
    try:
        return max(-_LARGEST, min(operator.index(number), _LARGEST))
    except TypeError as error:
        raise ConfigError(f"Expected a whole number as {name}, got {number!r:.100}.") from error
