"""Requests to answers: whole, in pieces, or several together."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from threading import Event, Timer

from langchain_core.outputs import ChatGenerationChunk

from kblam._stream import AnswerStream
from kblam.answer import Answer
from kblam.errors import GenerationTimeoutError, KBLaMError
from kblam.model import KBLaM
from kblam_integrations._leaving import Leaving
from kblam_integrations.langchain._batching import Pending, Request
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
    # Beam search has nothing to show before its end, so it cannot be stopped on the way.
    if (left is None and request.timeout is None) or request.options.num_beams > 1:
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
    """Answer requests that differ in their prompts only, in one padded batch.

    What goes wrong goes to those who wait, each getting their own error.
    """
    waiting = [pending for pending in group if pending.answer.set_running_or_notify_cancel()]
    if len(waiting) > 1:
        first = waiting[0].request
        prompts = [pending.request.prompt for pending in waiting]
        try:
            answers = kblam.ask_batch(prompts, first.options, view=first.view)
        except KBLaMError:
            pass  # One prompt is at fault, too long say: each is asked by itself below.
        except BaseException as error:
            for pending in waiting:
                pending.answer.set_exception(error)
            return
        else:
            for pending, reply in zip(waiting, answers, strict=True):
                pending.answer.set_result(reply)
            return
    for pending in waiting:
        _answer_one(kblam, pending)


def _answer_one(kblam: KBLaM, pending: Pending) -> None:
    try:
        pending.answer.set_result(answer(kblam, pending.request))
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
            raise GenerationTimeoutError(
                f"Expected a complete reply within {request.timeout} s, got only a part. "
                "Raise timeout=, or lower max_tokens=."
            )


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
