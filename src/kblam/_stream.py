"""Answers piece by piece."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Protocol

from kblam.answer import Answer
from kblam.decoder.watch import cut_at_stop

__all__ = ["AnswerStream"]


class _Run(Protocol):
    def __call__(self, on_text: Callable[[str], None], cancelled: Callable[[], bool]) -> Answer: ...


class AnswerStream(Iterator[str]):
    """The pieces of an answer as they are written.

    The pieces joined are the answer's text. Errors of the generation are raised here. Close
    it, or leave its ``with`` block, to stop the generation early.

    Args:
        run: Generates, telling the text so far.
        stop: Stop strings; what might become one is held back.
    """

    def __init__(self, run: _Run, stop: tuple[str, ...] = ()) -> None:
        self._pieces: queue.Queue[str | Answer | BaseException] = queue.Queue()
        self._cancelled = threading.Event()
        self._stop = stop
        self._sent = ""
        self._answer: Answer | None = None
        self._done = False
        self._run = run
        self._thread = threading.Thread(target=self._work, name="kblam-stream", daemon=True)
        self._thread.start()

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

    def _work(self) -> None:
        try:
            answer = self._run(self._offer, self._cancelled.is_set)
        except BaseException as error:  # Handed to whoever iterates.
            self._pieces.put(error)
        else:
            self._pieces.put(answer)

    def _offer(self, text: str) -> None:
        # An unfinished character is decoded as a replacement mark, which will change.
        text, _ = cut_at_stop(text.rstrip("\ufffd"), self._stop)
        for stop in self._stop:
            for length in range(min(len(stop) - 1, len(text)), 0, -1):
                if text.endswith(stop[:length]):
                    text = text[:-length]
                    break
        # Trailing white space is no part of an answer unless more follows.
        self._pieces.put(text.strip())

    def close(self) -> None:
        """Stop the generation; it ends after the token under way."""
        self._cancelled.set()
        self._done = True

    def __enter__(self) -> AnswerStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
