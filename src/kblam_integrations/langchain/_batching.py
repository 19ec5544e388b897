"""Requests that arrive one by one, answered together.

LangChain's ``batch`` runs ``invoke`` for each input, and with it the callbacks, the cache, the
rate limiter and the tracing of that input. To keep all of them and still generate in one padded
batch, the calls of a batch meet in a round: each takes a seat, hands in its request when it gets
as far as generating, or leaves if it never does (its answer was cached, its input is wrong). When
everybody has come or gone, the last to arrive has all of them answered. Whoever stops waiting,
because they are cancelled or their time is up, says so; when the last of them has, the generation
ends.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TypeVar

from langchain_core.runnables.config import ContextThreadPoolExecutor

from kblam.errors import GenerationTimeoutError
from kblam_integrations._leaving import Leaving
from kblam_integrations.langchain._request import Reply, Request

__all__ = [
    "AnswerAll",
    "Pending",
    "Seat",
    "asit_together",
    "sit_together",
    "taken_seat",
    "too_late",
]

_T = TypeVar("_T")

# Three classes in Python 3.10, one from 3.11 on.
_TIMEOUTS = (TimeoutError, FutureTimeoutError, asyncio.TimeoutError)


def too_late(seconds: float | None) -> GenerationTimeoutError:
    """The error of a call whose time is up."""
    return GenerationTimeoutError(
        f"Expected a complete reply within {seconds} s, got only a part. "
        "Raise timeout=, or lower max_tokens=."
    )


@dataclass(frozen=True)
class Pending:
    """A request, where its answer goes, and whether anybody still waits for that."""

    request: Request
    answer: Future[Reply] = field(default_factory=Future)
    left: Leaving = field(default_factory=Leaving)


# Has all requests of a batch answered elsewhere, by resolving their futures; returns at once.
AnswerAll = Callable[[list[Pending]], object]


class Round:
    """One padded batch in the making.

    Args:
        owner: The model that the requests are for; calls to other models are not its concern.
        seats: How many calls take part.
        answer_all: Given all requests by the call that completes the round.
    """

    def __init__(self, owner: object, seats: int, answer_all: AnswerAll) -> None:
        self.owner = owner
        self._absent = seats
        self._answer_all = answer_all
        self._waiting: list[Pending] = []
        self._abandoned = False
        self._lock = threading.Lock()

    def arrive(self, pending: Pending | None) -> None:
        """Count one call as come (with its request) or gone (None)."""
        with self._lock:
            self._absent -= 1
            if pending is not None:
                self._waiting.append(pending)
                if self._abandoned:
                    pending.left.set()
            complete = self._absent == 0 and bool(self._waiting)
        if complete:
            self._answer_all(self._waiting)

    def abandon(self) -> None:
        """Say that nobody waits for any of the answers any more."""
        with self._lock:
            self._abandoned = True
        for pending in self._waiting:
            pending.left.set()


class Seat:
    """One call's place in a round: used once, by a request or by leaving."""

    def __init__(self, round_: Round) -> None:
        self._round = round_
        self._used = False

    def free_for(self, owner: object) -> bool:
        """Whether a request of this model belongs here."""
        return not self._used and self._round.owner is owner

    def wait(self, request: Request) -> Reply:
        """Hand in the request, and wait for the answer.

        Raises:
            GenerationTimeoutError: The request's time is up.
        """
        pending = self._submit(request)
        try:
            return pending.answer.result(request.timeout)
        except _TIMEOUTS:
            if pending.answer.done():
                raise  # It is how the generation ended.
            raise too_late(request.timeout) from None
        finally:
            pending.left.set()

    async def await_(self, request: Request) -> Reply:
        """Like :meth:`wait`, while the event loop stays free."""
        pending = self._submit(request)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(pending.answer), request.timeout)
        except _TIMEOUTS:
            if pending.answer.done() and not pending.answer.cancelled():
                raise
            raise too_late(request.timeout) from None
        finally:
            pending.left.set()

    def _submit(self, request: Request) -> Pending:
        pending = Pending(request)
        self._used = True
        self._round.arrive(pending)
        return pending

    def leave(self) -> None:
        """Give the place up if it was not used: the others then need not wait for it."""
        if not self._used:
            self._used = True
            self._round.arrive(None)


# The seat of the call that runs in this context, if it is one of a batch.
_seat: ContextVar[Seat | None] = ContextVar("kblam_seat", default=None)


def taken_seat(owner: object) -> Seat | None:
    """The seat of the call that runs now, if it is one of a batch of this model."""
    seat = _seat.get()
    return seat if seat is not None and seat.free_for(owner) else None


def sit_together(
    owner: object, calls: Sequence[Callable[[], _T]], answer_all: AnswerAll
) -> list[_T]:
    """Make calls in threads, all in one round.

    Args:
        owner: The model.
        calls: Each calls the model once, or fails.
        answer_all: Has the requests answered.

    Returns:
        What each call returned, in order.
    """
    round_ = Round(owner, len(calls), answer_all)

    def member(call: Callable[[], _T]) -> _T:
        seat = Seat(round_)
        _seat.set(seat)  # in this thread's own copy of the context
        try:
            return call()
        finally:
            seat.leave()

    with ContextThreadPoolExecutor(max_workers=len(calls)) as executor:
        try:
            return list(executor.map(member, calls))
        except BaseException as error:
            if not isinstance(error, Exception):  # Ctrl-C: the threads are waited for, so end them
                round_.abandon()
            raise


async def asit_together(
    owner: object, calls: Sequence[Callable[[], Awaitable[_T]]], answer_all: AnswerAll
) -> list[_T]:
    """Make calls as tasks, all in one round.

    Args:
        owner: The model.
        calls: Each calls the model once, or fails.
        answer_all: Has the requests answered.

    Returns:
        What each call returned, in order.
    """
    round_ = Round(owner, len(calls), answer_all)

    async def member(call: Callable[[], Awaitable[_T]]) -> _T:
        seat = Seat(round_)
        _seat.set(seat)  # in this task's own copy of the context
        try:
            return await call()
        finally:
            seat.leave()

    tasks = [asyncio.ensure_future(member(call)) for call in calls]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        # One has failed, or all are cancelled: nobody will see what the others still say.
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
