"""Reading what another thread may be changing meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar

from kblam.errors import StoreError

__all__ = ["one_moment", "undisturbed"]

_T = TypeVar("_T")
_TRIES = 8
_PAUSE = 0.002  # seconds, growing: a thread that writes needs its turn to finish


def undisturbed(read: Callable[[], _T]) -> _T:
    """Return what ``read`` returns, trying again where a change disturbs it.

    Raises:
        StoreError: Something changed during every one of several tries.
    """
    for attempt in range(_TRIES):
        try:
            return read()
        except (RuntimeError, KeyError) as error:
            # As in "dictionary changed size during iteration"; or a key was gone in between.
            if isinstance(error, RuntimeError) and "during iteration" not in str(error):
                raise
            disturbed = error
        time.sleep(_PAUSE * attempt)
    raise StoreError(
        f"Expected to read a graph at rest, got one that changed during each of {_TRIES} tries "
        f"({disturbed!r}). Refresh when its writer has finished, or let both take a lock."
    ) from disturbed


def one_moment(read: Callable[[], Iterable[_T]], state: Callable[[], Hashable]) -> list[_T]:
    """Return all that ``read`` yields, as it stands at one moment.

    Under a writer that never rests, the last of several readings is returned, which may hold
    one part of a change without the other. The next refresh finds the rest.

    Args:
        read: Reads everything.
        state: Equal before and after a reading that nothing disturbed.

    Raises:
        StoreError: Nothing could be read in several tries.
    """
    for attempt in range(_TRIES):
        before = state()
        found = undisturbed(lambda: list(read()))
        if state() == before:
            break
        time.sleep(_PAUSE * attempt)
    return found
