"""Keeps the index of a store up to date, and builds it while nobody waits."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kblam.errors import MissingExtraError, require
from kblam.index.fact_index import FactIndex, index_path
from kblam.knowledge import FactVectors, KnowledgeStore

__all__ = ["IndexKeeper"]

_log = logging.getLogger(__name__)

# Changes that are followed while the caller waits.
_AT_ONCE = 16
# Above this share of changed facts a new index is built, while this one still serves.
_WORN = 1 / 64
# A new index rests for so many times as long as it took to build.
_REST = 10.0
_REST_AFTER_ERROR = 60.0


class _Cancelled(Exception):  # noqa: N818 - nothing went wrong
    """The keeper was closed while it built."""


class IndexKeeper:
    """Has the index of a store's facts, for any thread, where it is worth having.

    An index is read from the file beside the store, or built and written there, in a thread of
    its own that computes on one core. Until it is there, and whenever there is none, all facts
    are to be scanned. A store in memory has an index that is not written. It is for one encoder:
    the first that vectors come from.

    Args:
        store: The facts.
        at_least: Fewer facts than this are scanned as quickly.
        sample_queries: Gives samples of what will be asked of some facts, (Q, E); called in
            the keeper's thread. Without it they are made up from the keys.
        fitted_to: Tells whose queries those are: an index in a file is for them alone.
    """

    def __init__(
        self,
        store: KnowledgeStore,
        *,
        at_least: int = 200_000,
        sample_queries: Callable[[FactVectors], npt.NDArray[np.float32]] | None = None,
        fitted_to: Callable[[], str] = str,
    ) -> None:
        self._store = store
        self._at_least = at_least
        self._sample_queries = sample_queries
        self._fitted_to = fitted_to
        self._held: FactIndex | None = None
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._not_before = 0.0  # when the next index may be built

    def of(self, vectors: FactVectors) -> FactIndex | None:
        """Return the index of these facts; None if all of them are to be scanned.

        It never waits for an index to be built.
        """
        if vectors.view is not None or len(vectors) < max(self._at_least, 1):
            return None
        with self._lock:
            if self._closed:
                return None
            held = self._held
            if held is not None:
                if held.is_of(vectors) and held.changed_share <= _WORN:
                    return held
                if held.encoder != vectors.encoder or held.sequence > vectors.sequence:
                    return None
                held = self._followed(held, vectors)
                self._held = held or self._held
            if held is None or held.changed_share > _WORN:
                self._start(vectors, anew=held is not None)
            return held

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing is being built; tell whether that is so."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout)
        return thread is None or not thread.is_alive()

    def close(self) -> None:
        """Give up the index. What is being built is left off after its next step."""
        with self._lock:
            self._closed = True
            self._held = None

    def _followed(self, held: FactIndex, vectors: FactVectors) -> FactIndex | None:
        """Bring the index up to date, if that is done at once."""
        if held.is_of(vectors):
            return held
        try:
            journal = self._store.journal(held.sequence)
            changed = {change.fact_id for change in islice(journal, _AT_ONCE + 1)}
            return held.updated(vectors, changed) if len(changed) <= _AT_ONCE else None
        except Exception:
            _log.exception("The index of facts could not be brought up to date.")
            self._held = None
            return None

    def _start(self, vectors: FactVectors, *, anew: bool) -> None:
        """Start a thread that makes an index of these facts, unless there is one.

        Args:
            vectors: The facts.
            anew: What is held can be used, and is to be replaced all the same.
        """
        if self._thread is not None and self._thread.is_alive():
            return
        if (anew or self._held is None) and time.monotonic() < self._not_before:
            return
        self._thread = threading.Thread(
            target=self._make, args=(vectors, anew), name="kblam-index", daemon=True
        )
        self._thread.start()

    def _make(self, vectors: FactVectors, anew: bool) -> None:
        """Make an index of these facts and keep it; the thread's work."""
        try:
            made = None if anew else self._at_hand(vectors)
            if made is None and time.monotonic() >= self._not_before:
                made = self._built(vectors)
            # What was built may be of an earlier state than what served meanwhile: the next call
            # brings it up to date. If none could be, what is held is of no more use.
            with self._lock:
                self._held = None if self._closed else made
        except _Cancelled:
            pass
        except MissingExtraError as error:
            self._not_before = float("inf")
            _log.warning("Facts are searched without an index. %s", error)
        except Exception:
            self._not_before = time.monotonic() + _REST_AFTER_ERROR
            # A store that was closed meanwhile is no error of ours.
            if not self._closed:
                _log.exception("No index of facts could be made; all of them are scanned.")

    def _at_hand(self, vectors: FactVectors) -> FactIndex | None:
        """Bring up to date what is held or in the file."""
        held = self._held
        if held is not None:
            changed = {change.fact_id for change in self._store.journal(held.sequence)}
            return held.updated(vectors, changed)
        path = self._file(vectors)
        return None if path is None else FactIndex.load(path, vectors)

    def _file(self, vectors: FactVectors) -> Path | None:
        path = self._store.path
        if path is None or vectors.mark is None:  # no file would be believed
            return None
        return index_path(path, vectors.encoder, self._fitted_to())

    def _built(self, vectors: FactVectors) -> FactIndex:
        faiss = require("faiss", extra="index")
        faiss.omp_set_num_threads(1)  # of this thread's work alone
        started = time.monotonic()
        queries = None if self._sample_queries is None else self._sample_queries(vectors)
        made = FactIndex.build(vectors, queries=queries, step=self._step)
        database, path = self._store.path, self._file(vectors)
        if database is not None and path is not None:
            mode = database.stat().st_mode & 0o777
            if not made.save(path, vectors, mode=mode):
                _log.info("The index of facts could not be written beside %s.", database)
        ended = time.monotonic()
        self._not_before = ended + _REST * (ended - started)
        return made

    def _step(self, count: int) -> None:
        if self._closed:
            raise _Cancelled
