"""Answers piece by piece."""

from __future__ import annotations

import queue
import threading
import weakref
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Protocol

from kblam._refusal_words import may_become_refusal
from kblam.answer import Answer
from kblam.decoder.watch import cut_at_stop

__all__ = ["AnswerStream", "StreamClosed"]

# None: there is no more to come.
_Pieces = queue.Queue[str | Answer | BaseException | None]


class _Run(Protocol):
    def __call__(self, on_text: Callable[[str], None], cancelled: Callable[[], bool]) -> Answer: ...


class StreamClosed(Exception):  # noqa: N818  # no error: what a generation ends with that nobody reads
    """The stream was closed before its generation began."""


class AnswerStream(Iterator[str]):
    """The pieces of an answer as they are written.

    The pieces joined are the answer's text. Errors of the generation are raised here. Close
    it, leave its ``with`` block, or drop it, to stop the generation early: one that still waits
    for its turn then never begins. It may be closed from another thread, also while this one
    waits for a piece.

    Args:
        run: Generates, telling the text so far.
        stop: Stop strings; what might become one is held back.
    """

    def __init__(self, run: _Run, stop: tuple[str, ...] = ()) -> None:
        self._pieces: _Pieces = queue.Queue()
        self._cancelled = threading.Event()
        self._sent = ""
        self._answer: Answer | None = None
        self._done = False
        # The thread does not know the stream, so that one that is dropped can be noticed.
        weakref.finalize(self, self._cancelled.set)
        threading.Thread(
            target=_work,
            args=(run, stop, self._pieces, self._cancelled),
            name="kblam-stream",
            daemon=True,
        ).start()

    @property
    def finished(self) -> bool:
        """Whether the whole answer is there."""
        return self._answer is not None

    @property
    def answer(self) -> Answer:
        """The whole answer, once the pieces are exhausted.

        Raises:
            RuntimeError: Pieces are still to come, or the stream was closed.
        """
        if self._answer is None:
            raise RuntimeError("The answer is not finished. Iterate over the stream first.")
        return self._answer

    def __next__(self) -> str:
        while not self._done:
            item = self._pieces.get()
            if item is None:
                break
            if isinstance(item, str):
                piece = self._unsent(item)
            elif isinstance(item, Answer):
                self._done, self._answer = True, item
                piece = self._unsent(item.text)
            else:
                self._done = True
                raise item
            if piece:
                return piece
        raise StopIteration

    def _unsent(self, text: str) -> str:
        # A revised beginning (a refusal, say) can only come before anything was sent.
        piece = text[len(self._sent) :] if text.startswith(self._sent) else ""
        self._sent += piece
        return piece

    def close(self) -> None:
        """Stop the generation; it ends after the token under way."""
        self._cancelled.set()
        self._done = True
        self._pieces.put(None)

    def __enter__(self) -> AnswerStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _work(run: _Run, stop: tuple[str, ...], pieces: _Pieces, cancelled: threading.Event) -> None:
    try:
        answer = run(lambda text: pieces.put(_certain(text, stop)), cancelled.is_set)
    except BaseException as error:  # Handed to whoever iterates.
        pieces.put(error)
    else:
        pieces.put(answer)


def _certain(text: str, stop: tuple[str, ...]) -> str:
    """What of an unfinished text can no longer change."""
    # An unfinished character is decoded as a replacement mark, which will change.
    text, _ = cut_at_stop(text.rstrip("\ufffd"), stop)
    for string in stop:
        for length in range(min(len(string) - 1, len(text)), 0, -1):
            if text.endswith(string[:length]):
                text = text[:-length]
                break
    # Trailing white space is no part of an answer unless more follows.
    text = text.strip()
    # A refusal may be told in other words, or taken back.
    return "" if may_become_refusal(text) else text
