"""What the tests of the LlamaIndex integration share: a recorder of events, writing a graph."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from llama_index.core.graph_stores import EntityNode, Relation, SimplePropertyGraphStore
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events import BaseEvent

from kblam_integrations.llama_index import KBLaMLLM


class Recorder(BaseEventHandler):
    """Keeps every event."""

    seen: list[Any] = []

    def handle(self, event: BaseEvent, **_: Any) -> None:
        self.seen.append(event)

    def names(self) -> list[str]:
        return [type(event).__name__ for event in self.seen]

    def of(self, kind: type[BaseEvent]) -> Any:
        return next(event for event in self.seen if isinstance(event, kind))


def add_to(store: SimplePropertyGraphStore, facts: list[tuple[str, str, str]]) -> None:
    """Write triples as nodes and relations."""
    for entity, label, value in facts:
        nodes = EntityNode(name=entity), EntityNode(name=value)
        store.upsert_nodes(list(nodes))
        store.upsert_relations(
            [Relation(label=label, source_id=nodes[0].id, target_id=nodes[1].id)]
        )


@contextmanager
def before_each_pass(llm: KBLaMLLM, action: Callable[[int], None]) -> Iterator[list[float]]:
    """Run something before every forward pass of the model; yields the passes' times."""
    passes: list[float] = []

    def hook(*_: object) -> None:
        passes.append(time.perf_counter())
        action(len(passes))

    handle = llm.kblam.base.register_forward_pre_hook(hook)
    try:
        yield passes
    finally:
        handle.remove()


def slow(_: int) -> None:
    time.sleep(0.02)


def fail_at_third(count: int) -> None:
    if count == 3:
        raise RuntimeError("out of memory")


async def ticks_during(work: Callable[[], Awaitable[object]]) -> int:
    """How often another coroutine gets a turn while one works."""
    task = asyncio.ensure_future(work())
    ticks = 0
    while not task.done():
        await asyncio.sleep(0.001)
        ticks += 1
    await task
    return ticks
