"""Requests that arrive one by one, answered together.

LangChain's ``batch`` runs ``invoke`` for each input, and with it the callbacks, the cache, the
rate limiter and the tracing of that input. To keep all of them and still generate in one padded
batch, the calls of a batch meet in a round: each takes a seat, hands in its request when it gets
as far as generating, or leaves if it never does (its answer was cached, its input is wrong). When
everybody has come or gone, the last to arrive answers for all.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar

from langchain_core.runnables.config import ContextThreadPoolExecutor

from kblam.answer import Answer
from kblam.config import GenerationOptions
from kblam.knowledge import View

__all__ = ["AnswerAll", "Pending", "Request", "Seat", "asit_together", "sit_together", "taken_seat"]

_T = TypeVar("_T")


@dataclass(frozen=True)
class Request:
    """What one call asks of the model.

    Attributes:
        prompt: The conversation.
        options: How to generate.
        view: The facts that the caller may see; None for all.
        timeout: Seconds, or None.
    """

    prompt: Sequence[Mapping[str, Any]]
    options: GenerationOptions
    view: View | None
    timeout: float | None


@dataclass(frozen=True)
class Pending:
    """A request and where its answer goes."""

    request: Request
    answer: Future[Answer] = field(default_factory=Future)


# Answers all requests of a batch, by resolving their futures.
AnswerAll = Callable[[list[Pending]], object]


class Round:
    """One padded batch in the making.

    Args:
        owner: The model that the requests are for; calls to other models are not its concern.
        seats: How many calls take part.
        answer_all: Called with all requests by the call that completes the round.
    """

    def __init__(self, owner: object, seats: int, answer_all: AnswerAll) -> None:
        self.owner = owner
        self._absent = seats
        self._answer_all = answer_all
        self._waiting: list[Pending] = []
        self._lock = threading.Lock()

    def arrive(self, pending: Pending | None) -> None:
        """Count one call as come (with its request) or gone (None)."""
        with self._lock:
            self._absent -= 1
            if pending is not None:
                self._waiting.append(pending)
            complete = self._absent == 0 and bool(self._waiting)
        if complete:
            self._answer_all(self._waiting)


class Seat:
    """One call's place in a round: used once, by a request or by leaving."""

    def __init__(self, round_: Round) -> None:
        self._round = round_
        self._used = False

    def free_for(self, owner: object) -> bool:
        """Whether a request of this model belongs here."""
        return not self._used and self._round.owner is owner

    def submit(self, request: Request) -> Future[Answer]:
        """Hand in the request; the answer is still to come."""
        pending = Pending(request)
        self._used = True
        self._round.arrive(pending)
        return pending.answer

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
        answer_all: Answers the requests, in the thread that completes the round.

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
        return list(executor.map(member, calls))


async def asit_together(
    owner: object, calls: Sequence[Callable[[], Awaitable[_T]]], answer_all: AnswerAll
) -> list[_T]:
    """Make calls as tasks, all in one round.

    Args:
        owner: The model.
        calls: Each calls the model once, or fails.
        answer_all: Must return at once and have the requests answered elsewhere.

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

    return await asyncio.gather(*(member(call) for call in calls))
