"""Reading from what may stop answering."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from typing import TypeVar

__all__ = ["heard"]

_T = TypeVar("_T")
_AHEAD = 4  # items that may wait to be taken
_PATIENCE = 0.05  # seconds between looks at whether anybody still listens


def heard(read: Callable[[], Iterable[_T]], timeout: float) -> Iterator[_T]:
    """Yield what ``read`` yields, as long as it never keeps silent for too long.

    It runs in a thread of its own, for a client library that waits for its server without end
    cannot be interrupted. After a timeout the thread is left behind; it ends with the wait.

    Args:
        read: Returns the items. Runs in another thread, from beginning to end.
        timeout: Seconds to wait for each item.

    Raises:
        TimeoutError: No item came in that time.
    """
    # At most one item, or what ended the reading: None where it came to its end.
    items: queue.Queue[tuple[list[_T], BaseException | None]] = queue.Queue(_AHEAD)
    nobody_listens = threading.Event()

    def put(item: list[_T], error: BaseException | None = None) -> bool:
        while not nobody_listens.is_set():
            try:
                items.put((item, error), timeout=_PATIENCE)
            except queue.Full:
                continue
            return True
        return False

    def whole() -> Generator[_T]:
        yield from read()

    def run() -> None:
        try:
            # Closed here, so that what fails while it closes is caught as any other error: a
            # generator that is only forgotten prints it.
            with closing(whole()) as reading:
                for item in reading:
                    if not put([item]):
                        return
        except BaseException as error:
            put([], error)
        else:
            put([])

    threading.Thread(target=run, name="kblam-source", daemon=True).start()
    try:
        while True:
            try:
                item, error = items.get(timeout=timeout)
            except queue.Empty:
                raise TimeoutError(f"nothing came for {timeout:g} seconds") from None
            if error is not None:
                raise error
            if not item:
                return
            yield item[0]
    finally:
        nobody_listens.set()
