"""Requests to answers: whole, in pieces, or several together."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from threading import Event, Timer

from langchain_core.outputs import ChatGenerationChunk

from kblam._stream import AnswerStream
from kblam.answer import Answer
from kblam.errors import KBLaMError
from kblam.model import KBLaM
from kblam_integrations._leaving import Leaving
from kblam_integrations.langchain._batching import Pending, Request, too_late
from kblam_integrations.langchain._results import final_chunk, text_chunk

__all__ = ["answer", "answer_all", "chunks"]


class _LeftError(Exception):
    """Nobody waits for this answer any more."""


def answer(kblam: KBLaM, request: Request, left: Leaving | None = None) -> Answer:
    """Answer one request.

    Args:
        kblam: The model.
        request: What is asked.
        left: Says when nobody waits any more: the generation then ends.

    Raises:
        GenerationTimeoutError: The request's time is up.
    """
    if left is None and request.timeout is None:
        return kblam.ask(request.prompt, request.options, view=request.view)
    with closing(_pieces(kblam, request, left)) as pieces:
        for piece in pieces:
            if isinstance(piece, Answer):
                return piece
    raise _LeftError


def chunks(
    kblam: KBLaM, request: Request, left: Leaving | None = None
) -> Generator[ChatGenerationChunk, None, None]:
    """Answer one request piece by piece; closing ends the generation.

    Args:
        kblam: The model.
        request: What is asked.
        left: Says when nobody reads any more: the generation then ends.

    Raises:
        GenerationTimeoutError: The request's time is up.
    """
    first = True
    with closing(_pieces(kblam, request, left)) as pieces:
        for piece in pieces:
            if isinstance(piece, Answer):
                yield final_chunk(piece, first=first)
            else:
                yield text_chunk(piece, model_name=kblam.model_name if first else None)
            first = False


def answer_all(kblam: KBLaM, group: list[Pending]) -> None:
    """Answer requests, those that may be together in one padded batch.

    What goes wrong goes to those who wait, each getting their own error. Nothing is generated
    any more once all of them have left.
    """
    waiting = [pending for pending in group if pending.answer.set_running_or_notify_cancel()]
    while waiting:
        first = waiting[0].request
        alike = [pending for pending in waiting if _alike(pending.request, first)]
        waiting = [pending for pending in waiting if not _alike(pending.request, first)]
        if len(alike) == 1 or not _answered_together(kblam, alike):
            for pending in alike:
                _answer_one(kblam, pending)


def _alike(one: Request, other: Request) -> bool:
    return one.options == other.options


def _answered_together(kblam: KBLaM, group: list[Pending]) -> bool:
    """Answer requests in one padded batch; False where each is to be asked by itself."""
    prompts = [pending.request.prompt for pending in group]
    views = [pending.request.view for pending in group]

    def cancelled() -> bool:
        return all(pending.left.is_set() for pending in group)

    try:
        answers = kblam.ask_batch(
            prompts, group[0].request.options, views=views, cancelled=cancelled
        )
    except KBLaMError:
        return False  # One prompt is at fault, too long say.
    except BaseException as error:
        for pending in group:
            pending.answer.set_exception(error)
    else:
        for pending, reply in zip(group, answers, strict=True):
            pending.answer.set_result(reply)
    return True


def _answer_one(kblam: KBLaM, pending: Pending) -> None:
    try:
        pending.answer.set_result(answer(kblam, pending.request, pending.left))
    except BaseException as error:
        pending.answer.set_exception(error)


def _pieces(
    kblam: KBLaM, request: Request, left: Leaving | None
) -> Generator[str | Answer, None, None]:
    """The reply's text as it comes, then the answer; nothing more once everybody has left."""
    if left is not None and left.is_set():
        return
    with (
        closing(kblam.stream(request.prompt, request.options, view=request.view)) as stream,
        _closed_at(stream, request.timeout) as late,
    ):
        if left is not None:
            left.then(stream.close)
        for piece in stream:
            if piece and not late.is_set():
                yield piece
        if stream.finished:
            yield stream.answer
        elif late.is_set():
            raise too_late(request.timeout)


@contextmanager
def _closed_at(stream: AnswerStream, seconds: float | None) -> Iterator[Event]:
    """Close a stream when its time is up, also while it waits for its turn; then set an event."""
    late = Event()
    if seconds is None:
        yield late
        return

    def expire() -> None:
        late.set()
        stream.close()

    timer = Timer(seconds, expire)
    timer.daemon = True
    timer.start()
    try:
        yield late
    finally:
        timer.cancel()
