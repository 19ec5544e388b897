"""Blocking generation beside an event loop: a thread works, the loop stays free."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from kblam_integrations._leaving import Leaving

__all__ = ["Worker"]

T = TypeVar("T")


@dataclass(frozen=True)
class _Item(Generic[T]):
    value: T


@dataclass(frozen=True)
class _End:
    error: BaseException | None


class Worker:
    """Runs one model's calls in a thread of its own, one after the other.

    Generation on one set of weights is serial anyway. In a thread of its own the calls that
    wait for their turn do not fill up the event loop's shared pool, which others need.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="kblam")

    async def call(self, work: Callable[[], T]) -> T:
        """Return what a function returns; who leaves before its turn, spares it."""
        context = contextvars.copy_context()  # spans and traces of the caller
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, lambda: context.run(work))

    async def iterate(
        self, generate: Callable[[], Generator[T, None, None]], left: Leaving | None = None
    ) -> AsyncGenerator[T, None]:
        """Yield what a generator yields as it comes, then its error if it raises one.

        Leaving early closes the generator before its next item, which ends the generation.

        Args:
            generate: Makes the generator. It is called, run and closed in the thread.
            left: Told when the reader leaves, for a generator that waits for its next item.
        """
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[_Item[T] | _End] = asyncio.Queue()
        left = Leaving() if left is None else left

        def post(item: _Item[T] | _End) -> None:
            loop.call_soon_threadsafe(queue.put_nowait, item)

        context = contextvars.copy_context()  # spans and traces of the caller
        future = self._pool.submit(context.run, _drain, generate, post, left)
        try:
            while True:
                item = await queue.get()
                if isinstance(item, _Item):
                    yield item.value
                elif item.error is not None:
                    raise item.error
                else:
                    return
        finally:
            left.set()
            future.cancel()  # where it has not begun yet


def _drain(
    generate: Callable[[], Generator[T, None, None]],
    post: Callable[[_Item[T] | _End], None],
    left: Leaving,
) -> None:
    """Hand every item of a generator over, and how it ended, whatever happens."""
    try:
        items = generate()
        try:
            for item in items:
                if left.is_set():
                    return
                post(_Item(item))
        finally:
            items.close()
    except BaseException as error:
        post(_End(error))
    else:
        post(_End(None))
