"""What views cost: reading them, holding them, following a change, and a batch of many.

    python benchmarks/views.py --num-facts 100000 --views 50 --json OUT

Two kinds of views: teams share out the facts, so that no two show the same one; readers each see
half of all facts, so that any two overlap. Facts are made up, with random unit vectors.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from memory import RandomVectors, resident, seconds
from torch import Tensor

from kblam._knowledge_base import KnowledgeBase, SeenFacts
from kblam.attention import select_top_k
from kblam.knowledge import KnowledgeStore, Triple, View

_TOP_K = 16
_BATCH = 32


def search(seen: SeenFacts, query: Tensor) -> None:
    """Search what the callers of a batch see, as selection does."""
    places, mask = seen.narrowing()
    select_top_k(query, seen.facts.keys, _TOP_K, places=places, mask=mask)


def ask(base: KnowledgeBase, views: Sequence[View | None], query: Tensor) -> None:
    """Search for a batch of callers, as an answer begins."""
    search(base.seen_by(views), query)


def median(work: Callable[[], object], times: int = 5) -> float:
    """Median seconds of a call."""
    return statistics.median(seconds(work) for _ in range(times))


def measure(path: Path, kind: str, count: int) -> dict[str, Any]:
    """Measure one kind of views over the store in a file."""
    views = [View.build(metadata={kind: number}) for number in range(count)]
    query = 20.0 * torch.randn(_BATCH, RandomVectors.dimension)
    with KnowledgeStore(path) as store:
        base = KnowledgeBase(store, RandomVectors(), torch.device("cpu"))
        base.read()
        before = resident()
        first = [seconds(partial(base.seen_by, [view])) for view in views]
        after = resident()
        again = [seconds(partial(base.seen_by, [view])) for view in views]
        rows: list[View | None] = [views[row % count] for row in range(_BATCH)]
        batches: dict[str, Sequence[View | None]] = {
            "one_view": rows[:1] * _BATCH,
            "many_views": rows,
            "no_view": [None] * _BATCH,
        }
        found = {
            "seconds_to_read_a_view": statistics.median(first),
            "seconds_to_read_it_again": statistics.median(again),
            "own_bytes": after["RssAnon"] - before["RssAnon"] if after else None,
        }
        for name, batch in batches.items():
            found[f"seconds_of_a_batch_with_{name}"] = median(partial(ask, base, batch, query))
        apart = [base.seen_by([view]) for view in rows]
        found["seconds_of_a_batch_one_by_one"] = median(
            lambda: [search(seen, query[:1]) for seen in apart]
        )
        store.upsert(("item 0", "code", f"changed for {kind}"))
        found["seconds_to_follow_a_change_in_all_views"] = seconds(
            lambda: [base.seen_by([view]) for view in views]
        )
        return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print a line for each kind of views, and write the figures."""
    parser = argparse.ArgumentParser(description="Time and memory of views.")
    parser.add_argument("--num-facts", type=int, default=100_000)
    parser.add_argument("--views", type=int, default=50)
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures to this file")
    parsed = parser.parse_args(arguments)
    chance = np.random.default_rng(0)
    half = parsed.views // 2
    results: dict[str, Any] = {"num_facts": parsed.num_facts, "views": parsed.views}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "facts.db"
        with KnowledgeStore(path) as store:
            store.add(
                Triple(
                    f"item {i}",
                    "code",
                    f"code {i}",
                    metadata={
                        "team": i % parsed.views,
                        "readers": chance.choice(parsed.views, half, replace=False).tolist(),
                    },
                )
                for i in range(parsed.num_facts)
            )
            store.encode(RandomVectors(), batch_size=4096)
        for kind in ("team", "readers"):
            results[kind] = measure(path, kind, parsed.views)
            line = ", ".join(
                f"{name.removeprefix('seconds_').replace('_', ' ')} {1000 * value:.1f} ms"
                for name, value in results[kind].items()
                if name.startswith("seconds")
            )
            held = results[kind]["own_bytes"]
            memory = "" if held is None else f"; {held / 2**20:.0f} MiB for all views"
            print(f"{kind}: {line}{memory}", flush=True)
    if parsed.json is not None:
        parsed.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
