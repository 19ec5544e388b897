"""Reading from what may stop answering."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator

import pytest

from kblam_integrations.sources._silence import heard


def test_items_and_errors_pass_in_order() -> None:
    def read() -> Iterator[int | None]:
        yield from range(20)
        yield None
        raise KeyError("gone")

    reading = heard(read, 5.0)
    assert [next(reading) for _ in range(21)] == [*range(20), None]
    with pytest.raises(KeyError, match="gone"):
        next(reading)


def test_nothing_is_not_taken_for_silence() -> None:
    assert list(heard(list, 5.0)) == []


def test_silence_is_an_error_whatever_came_before() -> None:
    woken = threading.Event()

    def read() -> Iterator[int]:
        yield 1
        woken.wait(5)
        yield 2

    reading = heard(read, 0.1)
    assert next(reading) == 1
    with pytest.raises(TimeoutError, match=r"nothing came for 0\.1 seconds"):
        next(reading)
    woken.set()


def test_the_thread_ends_when_nobody_listens_any_more() -> None:
    closed = threading.Event()

    def read() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    reading = heard(read, 5.0)
    next(reading)
    reading.close()  # type: ignore[attr-defined]
    assert closed.wait(5)
    before = time.monotonic()
    assert list(heard(lambda: [1], 5.0)) == [1]
    assert time.monotonic() - before < 2


def test_what_fails_while_it_closes_behind_a_silence_is_not_printed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As of a connection whose owner closed it meanwhile."""
    printed: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", printed.append)
    monkeypatch.setattr(threading, "excepthook", printed.append)
    woken, closed = threading.Event(), threading.Event()
    readers: list[threading.Thread] = []

    def read() -> Iterator[int]:
        readers.append(threading.current_thread())
        try:
            woken.wait(5)
            yield 1
        finally:
            closed.set()
            raise OSError("the connection is closed")

    with pytest.raises(TimeoutError):
        next(heard(read, 0.1))
    woken.set()
    readers[0].join(5)
    assert closed.is_set()
    assert not readers[0].is_alive()
    assert not printed
