"""What a fork must not carry over into the new process.

SQLite keeps its locks by process. A fork copies what it believes to hold, but not the locks: the
new process would write to, and delete, what others rely on. So connections are closed before a
fork, and what could not be closed is of no use in the new process.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import Protocol

__all__ = ["Forked", "is_carried_over", "is_open", "watch"]


class Forked(Protocol):
    """Holds connections when its process forks."""

    def before_fork(self) -> None:
        """Close what can be closed; nothing is opened or lent until the fork is over."""

    def after_fork(self, *, in_child: bool) -> bool:
        """Go on; tell whether a connection that was not closed is now in a new process."""

    def has_open(self, file: object) -> bool:
        """Whether this has connections to a certain file."""


# Held from before a fork until it is over, so that nothing new is opened meanwhile.
_fork = threading.RLock()
_watched: weakref.WeakSet[Forked] = weakref.WeakSet()
_forking: list[Forked] = []
# Kept for as long as the process lives: SQLite must not close here what it has open elsewhere.
_carried_over: list[Forked] = []


def watch(holder: Forked) -> None:
    """Have a holder told of every fork from now on; call it before it opens anything."""
    with _fork:
        _watched.add(holder)


def is_carried_over(file: object) -> bool:
    """Whether this process was forked while a file was in use.

    It is then not safe here to open the file at all, by whatever connection.
    """
    return any(holder.has_open(file) for holder in _carried_over)


def is_open(file: object) -> bool:
    """Whether a store of this process has a file open."""
    return any(holder.has_open(file) for holder in list(_watched))


def _before() -> None:
    _fork.acquire()
    _forking.extend(_watched)
    for holder in _forking:
        holder.before_fork()


def _after_in_parent() -> None:
    for holder in _forking:
        holder.after_fork(in_child=False)
    _forking.clear()
    _fork.release()


def _after_in_child() -> None:
    _carried_over.extend(holder for holder in _forking if holder.after_fork(in_child=True))
    _forking.clear()
    _fork.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child
    )
