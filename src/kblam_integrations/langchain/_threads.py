"""Generation beside an event loop: threads work, the loop stays free."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from kblam_integrations._leaving import Leaving

__all__ = ["call", "iterate", "start"]

_T = TypeVar("_T")

# Not the event loop's shared pool: calls that wait for the model would fill it up for everybody.
_POOL = ThreadPoolExecutor(max_workers=8, thread_name_prefix="kblam")


class _End:
    """The last thing a thread hands over: how it ended."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def start(function: Callable[..., object], *args: object) -> None:
    """Run a function that answers through futures in a thread."""
    _POOL.submit(contextvars.copy_context().run, function, *args)


async def call(function: Callable[[Leaving], _T]) -> _T:
    """Await what ``function`` returns, or get the error it raises.

    Args:
        function: Runs in a thread. It is told when nobody waits for it any more, and should
            then return.
    """
    left = Leaving()
    context = contextvars.copy_context()  # callbacks and traces of the caller
    loop = asyncio.get_running_loop()
    try:
        return await loop.run_in_executor(_POOL, context.run, function, left)
    finally:
        left.set()


async def iterate(
    function: Callable[[Leaving], Generator[_T, None, None]],
) -> AsyncGenerator[_T, None]:
    """Yield what a generator yields as it comes, then raise its error if it has one.

    Args:
        function: Makes the generator; called and read in a thread, and told of the
            same as by :func:`call`.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[Any] = asyncio.Queue()
    left = Leaving()

    def hand_over(item: object) -> None:
        if not left.is_set():  # the loop may be closed by then
            loop.call_soon_threadsafe(queue.put_nowait, item)

    def read() -> None:
        try:
            for item in function(left):
                hand_over(item)
        except BaseException as error:
            hand_over(_End(error))
        else:
            hand_over(_End(None))

    future = _POOL.submit(contextvars.copy_context().run, read)
    try:
        while not isinstance(item := await queue.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        left.set()
        future.cancel()  # where it has not begun yet
