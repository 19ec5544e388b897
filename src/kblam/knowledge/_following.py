"""Keeping a store in step with a source, before each answer or in the background."""

from __future__ import annotations

import threading
import time
import warnings
import weakref
from dataclasses import dataclass, field
from typing import Literal

from kblam.errors import ConfigError, SourceError, StaleFactsWarning
from kblam.knowledge._stage import Stopped
from kblam.knowledge._synchronise import Synchroniser, SyncReport, Terms
from kblam.knowledge.protocols import TextEmbedder, TripleSource

__all__ = ["Follower", "Following"]

# Pauses after failures grow up to this (seconds), or to the usual pause if that is longer.
_LONGEST = 300.0
# How long a stop waits for a thread that is reading; it then ends by itself, without writing.
_PATIENCE = 5.0


@dataclass(frozen=True, slots=True)
class Following:
    """How a store keeps in step with its source.

    Attributes:
        every: Seconds between readings in the background; None: before each answer.
        synced_at: When the store last was what the source says (``time.time()``), None if it
            was not yet.
        report: What the last reading that found a difference changed.
        error: Why the last try failed; None if it did not.
        failures: Tries that failed since.
    """

    every: float | None
    synced_at: float | None = None
    report: SyncReport = field(default_factory=SyncReport)
    error: Exception | None = None
    failures: int = 0


class Follower:
    """Follows one source for one store.

    Args:
        synchroniser: Of the store.
        source: The source.
        every: As for ``KnowledgeStore.follow``, and so are those that follow.
        encoder: Is kept for as long as the source is followed: the store does not.
        on_error: What an answer does while the source cannot be read.
        allow_empty: Whether a source that gives nothing empties the store.

    Raises:
        ConfigError: A setting is out of range.
    """

    def __init__(
        self,
        synchroniser: Synchroniser,
        source: TripleSource,
        *,
        every: float | None,
        encoder: TextEmbedder | None,
        on_error: Literal["raise", "warn"],
        allow_empty: bool,
    ) -> None:
        # A thread waits no longer than that, which is centuries (on Windows, weeks).
        longest = threading.TIMEOUT_MAX
        if every is not None and not (0 < every <= longest or every == float("inf")):
            raise ConfigError(
                f"Expected seconds between two readings of a source, got every={every!r}. Give a "
                f"number above 0 and up to {longest:.0f}, math.inf to read only when told, or None."
            )
        if on_error not in ("raise", "warn"):
            raise ConfigError(f"Expected on_error 'raise' or 'warn', got {on_error!r}.")
        self.source = source
        self.encoder = encoder
        self._synchroniser = synchroniser
        self._on_error = on_error
        self._stop = threading.Event()
        self._terms = Terms(allow_empty=allow_empty, mirror=True, stopped=self._stop.is_set)
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self.following = Following(every)
        # One that nobody stopped ends with its store, or with the process.
        weakref.finalize(self, self._stop.set)

    def refresh(self) -> SyncReport:
        """Read the source now.

        Raises:
            KBLaMError: As ``KnowledgeStore.refresh``.
        """
        try:
            report = self._synchroniser.sync(self.source, self._terms)
        except Stopped:
            return SyncReport()
        except Exception as error:
            self._note(error)
            raise
        self._note(report)
        return report

    def catch_up(self) -> SyncReport:
        """Do what is due before an answer: read the source, or see that the thread does.

        Raises:
            KBLaMError: The source cannot be read, and that is to be raised.
        """
        error: Exception | None
        if self.following.every is None:
            try:
                return self.refresh()
            except Exception as failed:
                if self._on_error == "raise":
                    raise
                error = failed
        else:
            self.start()
            error = self.following.error
        if error is not None:
            self._complain(error)
        return SyncReport()

    def start(self) -> None:
        """Start the thread, unless it runs or nothing is to be read by itself."""
        every = self.following.every
        if every is None or every == float("inf") or self._stop.is_set():
            return
        with self._lock:
            # A forked process has no thread but its own.
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=_run,
                    args=(weakref.ref(self), self._stop, every),
                    name="kblam-follow",
                    daemon=True,
                )
                self._thread.start()

    def stop(self) -> None:
        """Stop for good: nothing is written from now on."""
        self._stop.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(_PATIENCE)

    def _note(self, outcome: SyncReport | Exception) -> None:
        now = self.following
        if isinstance(outcome, SyncReport):
            self.following = Following(now.every, time.time(), outcome or now.report)
        else:
            self.following = Following(
                now.every, now.synced_at, now.report, outcome, now.failures + 1
            )

    def _complain(self, error: Exception) -> None:
        """Tell whoever asks that the facts may be out of date.

        Raises:
            SourceError: Unless it is only to be warned of.
        """
        at = self.following.synced_at
        when = "never" if at is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
        text = f"The facts may be out of date; they were last read at {when}. {error}"
        if self._on_error == "warn":
            warnings.warn(text, StaleFactsWarning, stacklevel=4)
            return
        raise SourceError(
            f'{text} To answer from what is there meanwhile: store.follow(..., on_error="warn").'
        ) from error


def _run(follower: weakref.ref[Follower], stop: threading.Event, every: float) -> None:
    """Refresh again and again, without keeping alive what nobody else does."""
    pause = every
    while not stop.wait(pause):
        followed = follower()
        if followed is None:
            return
        try:
            followed.refresh()
        except Exception:  # kept, for the next answer and for who looks at the state
            failures = followed.following.failures
            pause = min(every * 2.0 ** min(failures, 30), max(every, _LONGEST))
        else:
            pause = every
        del followed
