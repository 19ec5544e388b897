"""Requests to replies: whole, in pieces, or several together."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from threading import Event, Timer

from langchain_core.exceptions import ContextOverflowError
from langchain_core.outputs import ChatGenerationChunk

from kblam._stream import AnswerStream
from kblam.answer import Usage
from kblam.errors import KBLaMError, PromptTooLongError
from kblam.model import KBLaM
from kblam_integrations._attempts import Attempt
from kblam_integrations._leaving import Leaving
from kblam_integrations.langchain._batching import Pending, too_late
from kblam_integrations.langchain._pieces import Pieces
from kblam_integrations.langchain._request import Reply, Request
from kblam_integrations.langchain._results import final_chunk

__all__ = ["chunks", "reply_all", "reply_to"]

_NOTHING = Usage(0, 0)
# Who waits, what is attempted for them, and the tokens that went before.
_Turn = tuple[Pending, Attempt, Usage]


class _LeftError(Exception):
    """Nobody waits for this answer any more."""


class _PromptTooLongError(PromptTooLongError, ContextOverflowError):
    """Too long a prompt, by the name under which LangChain's middleware shortens it."""


def reply_to(kblam: KBLaM, request: Request, left: Leaving | None = None) -> Reply:
    """Reply to one request.

    Args:
        kblam: The model.
        request: What is asked.
        left: Says when nobody waits any more: the generation then ends.

    Raises:
        GenerationTimeoutError: The request's time is up.
        PromptTooLongError: A ``ContextOverflowError`` of LangChain's as well.
    """
    with _told_to_langchain():
        if left is None and request.timeout is None:
            return _ask(kblam, request)
        with closing(_pieces(kblam, request, left)) as pieces:
            for piece in pieces:
                if isinstance(piece, Reply):
                    return piece
    raise _LeftError


def chunks(
    kblam: KBLaM, request: Request, left: Leaving | None = None
) -> Generator[ChatGenerationChunk, None, None]:
    """Reply to one request piece by piece; closing ends the generation.

    Args:
        kblam: The model.
        request: What is asked.
        left: Says when nobody reads any more: the generation then ends.

    Raises:
        GenerationTimeoutError: The request's time is up.
        PromptTooLongError: A ``ContextOverflowError`` of LangChain's as well.
    """
    shown = Pieces(kblam.model_name, request)
    with _told_to_langchain(), closing(_pieces(kblam, request, left)) as pieces:
        for piece in pieces:
            if isinstance(piece, Attempt):
                shown.begin(piece)
            elif isinstance(piece, str):
                yield from shown.add(piece)
            else:
                yield from shown.rest(piece)
                yield final_chunk(piece, first=not shown.any)


@contextmanager
def _told_to_langchain() -> Iterator[None]:
    """Raise what LangChain has a name for under that name too."""
    try:
        yield
    except PromptTooLongError as error:
        raise _PromptTooLongError(*error.args) from error


def _ask(kblam: KBLaM, request: Request) -> Reply:
    attempt, before = request.first, _NOTHING
    while True:
        answer = attempt.model(kblam).ask(
            request.prompt, attempt.options, view=request.view, tools=attempt.tools
        )
        following = request.after(attempt, answer)
        if following is None:
            return Reply.of(request, answer, before)
        attempt, before = following, before + answer.usage


def reply_all(kblam: KBLaM, group: list[Pending]) -> None:
    """Reply to requests, to those that may be together in one padded batch.

    What goes wrong goes to those who wait, each getting their own error. Nothing is generated
    any more once all of them have left.
    """
    waiting = [pending for pending in group if pending.answer.set_running_or_notify_cancel()]
    turns = [(pending, pending.request.first, _NOTHING) for pending in waiting]
    while turns:
        attempt = turns[0][1]
        alike = [turn for turn in turns if turn[1] == attempt]
        turns = [turn for turn in turns if turn[1] != attempt]
        if len(alike) == 1 and attempt == alike[0][0].request.first:
            _reply_one(kblam, alike[0][0])
        else:
            turns.extend(_attempt_together(kblam, attempt, alike))


def _attempt_together(kblam: KBLaM, attempt: Attempt, turns: list[_Turn]) -> list[_Turn]:
    """Make one attempt for several, and return those who need another."""
    group = [pending for pending, _, _ in turns]

    def cancelled() -> bool:
        return all(pending.left.is_set() for pending in group)

    try:
        answers = attempt.model(kblam).ask_batch(
            [pending.request.prompt for pending in group],
            attempt.options,
            views=[pending.request.view for pending in group],
            tools=attempt.tools,
            cancelled=cancelled,
        )
    except KBLaMError:
        for pending in group:  # One prompt is at fault, too long say.
            _reply_one(kblam, pending)
        return []
    except BaseException as error:
        for pending in group:
            pending.answer.set_exception(error)
        return []
    again: list[_Turn] = []
    for (pending, _, before), answer in zip(turns, answers, strict=True):
        following = pending.request.after(attempt, answer)
        if following is None:
            pending.answer.set_result(Reply.of(pending.request, answer, before))
        else:
            again.append((pending, following, before + answer.usage))
    return again


def _reply_one(kblam: KBLaM, pending: Pending) -> None:
    try:
        pending.answer.set_result(reply_to(kblam, pending.request, pending.left))
    except BaseException as error:
        pending.answer.set_exception(error)


def _pieces(
    kblam: KBLaM, request: Request, left: Leaving | None
) -> Generator[Attempt | str | Reply, None, None]:
    """Attempts, each with its text as it comes, then the reply.

    What is refused has no text before the reply: another attempt may follow. Nothing more comes
    once everybody has left.
    """
    started, before = time.monotonic(), _NOTHING
    attempt: Attempt | None = request.first
    while attempt is not None:
        if left is not None and left.is_set():
            return
        yield attempt
        stream = attempt.model(kblam).stream(
            request.prompt, attempt.options, view=request.view, tools=attempt.tools
        )
        with closing(stream), _closed_at(stream, request.timeout, started) as late:
            if left is not None:
                left.then(stream.close)
            for piece in stream:
                refused = stream.finished and stream.answer.refused
                if piece and not refused and not late.is_set():
                    yield piece
        if not stream.finished:
            if late.is_set():
                raise too_late(request.timeout)
            return
        following = request.after(attempt, stream.answer)
        if following is None:
            yield Reply.of(request, stream.answer, before)
        before, attempt = before + stream.answer.usage, following


@contextmanager
def _closed_at(stream: AnswerStream, seconds: float | None, started: float) -> Iterator[Event]:
    """Close a stream when its time is up, also while it waits for its turn; then set an event."""
    late = Event()
    if seconds is None:
        yield late
        return

    def expire() -> None:
        late.set()
        stream.close()

    timer = Timer(max(0.0, started + seconds - time.monotonic()), expire)
    timer.daemon = True
    timer.start()
    try:
        yield late
    finally:
        timer.cancel()
