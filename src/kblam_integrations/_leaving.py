"""Telling a thread that nobody waits for its work any more."""

from __future__ import annotations

import threading
from collections.abc import Callable

__all__ = ["Leaving"]


class Leaving:
    """Whether whoever asked has left, and what to do then.

    A thread that waits for something (its turn, a piece of an answer) cannot look whether it is
    still wanted; it says beforehand how to wake it.
    """

    def __init__(self) -> None:
        self._left = False
        self._actions: list[Callable[[], object]] = []
        self._lock = threading.Lock()

    def is_set(self) -> bool:
        """Whether nobody waits any more."""
        return self._left

    def set(self) -> None:
        """Say that nobody waits any more."""
        with self._lock:
            self._left = True
            actions, self._actions = self._actions, []
        for action in actions:
            action()

    def then(self, action: Callable[[], object]) -> None:
        """Do something as soon as nobody waits any more; at once, if that is so already."""
        with self._lock:
            if not self._left:
                self._actions.append(action)
                return
        action()
