"""What an index of very many facts costs and finds, beside other ways to search them.

    python benchmarks/index.py --num-facts 100000 --vectors FILE --json OUT --plot OUT.png

FILE is a safetensors file with the tensors "keys" (M, E) and "asked" (Q, E): fact keys and
questions under one encoder. Without it both are made up, in clusters. Half of the questions choose
how much an index looks at, for a recall of --recall; the other half measures.
Questions come one at a time. What only finds candidates has their half-precision keys scored
afterwards, and that is counted.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from kblam.index import FactIndex
from kblam.index._calibrate import exact_best
from kblam.knowledge import FactVectors
from kblam.knowledge._fact_ids import FactIds
from kblam.knowledge._patch import Part

Half = NDArray[np.float16]
Single = NDArray[np.float32]
Int = NDArray[np.int64]
Search = Callable[[Single], Int]  # (1, E) to (WANTED)

_WANTED = 64
_DIMENSION = 384  # of made-up vectors
_BLOCK = 16_384
_MOST_IN_GRAPH = 100_000


def unit(rows: Single) -> Single:
    """Give rows unit length."""
    scaled: Single = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return scaled


def made_up(num_facts: int) -> tuple[Half, Single]:
    """Keys in clusters and questions at a cosine of about .8 from one each."""
    generator = np.random.default_rng(0)
    centres = unit(generator.standard_normal((max(num_facts // 50, 1), _DIMENSION), np.float32))
    keys = np.empty((num_facts, _DIMENSION), np.float16)
    for start in range(0, num_facts, _BLOCK):
        count = min(_BLOCK, num_facts - start)
        around = unit(generator.standard_normal((count, _DIMENSION), np.float32))
        keys[start : start + count] = unit(
            centres[generator.integers(len(centres), size=count)] + 0.8 * around
        )
    near = keys[generator.integers(num_facts, size=400)].astype(np.float32)
    return keys, unit(near + 0.75 * unit(generator.standard_normal(near.shape, np.float32)))


def read(path: Path | None, num_facts: int) -> tuple[Half, Single]:
    """Keys (num_facts, E) and questions (Q, E)."""
    if path is None:
        return made_up(num_facts)
    from safetensors import safe_open

    with safe_open(path, "np") as file:
        keys = file.get_slice("keys")[:num_facts].astype(np.float16)
        asked = file.get_tensor("asked").astype(np.float32)
    if len(keys) < num_facts:
        raise SystemExit(f"Expected {num_facts} keys in {path}, got {len(keys)}.")
    return keys, unit(asked)


def as_vectors(keys: Half, sequence: int = 1) -> FactVectors:
    """Keys as a store would hand them over."""
    ids = FactIds.of(f"{place:016x}" for place in range(len(keys)))
    rows = np.arange(len(keys), dtype=np.int64)
    part = Part(ids, rows, keys, keys)
    return FactVectors(ids, keys, keys, "made up", None, sequence, f"at {sequence}", (), rows,
                       "made up", part=part)  # fmt: skip


def milliseconds(work: Callable[[], object], repeats: int = 5) -> float:
    """Time a call, the median."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return 1000 * sorted(times)[repeats // 2]


def rescored(keys: Half, query: Single, places: Int) -> Int:
    """The best of some candidates by their half-precision keys."""
    scores = keys[places].astype(np.float32) @ query[0]
    best = np.argpartition(-scores, min(_WANTED, len(scores)) - 1)[:_WANTED]
    found: Int = places[best]
    return found


def scan(keys: Half, query: Single) -> Int:
    """Score every key, by blocks."""
    scores = np.concatenate(
        [
            keys[start : start + _BLOCK].astype(np.float32) @ query[0]
            for start in range(0, len(keys), _BLOCK)
        ]
    )
    return np.argpartition(-scores, _WANTED - 1)[:_WANTED]


def recall(search: Search, queries: Single, best: Int) -> float:
    """The share of the exactly best that a search finds."""
    pairs = zip(queries, best, strict=True)
    return float(np.mean([np.isin(row, search(query[None])).mean() for query, row in pairs]))


def least(
    settings: Sequence[int], search: Callable[[int], Search], queries: Single, best: Int,
    wanted: float,
) -> int:  # fmt: skip
    """The first setting with which enough is found, the last if none does."""
    for setting in settings:
        if recall(search(setting), queries, best) >= wanted:
            return setting
    return settings[-1]


def doubled(total: int, first: int = 1) -> list[int]:
    """Settings to try: each about a quarter more than the one before."""
    steps = {min(total, int(first * 1.25**power)) for power in range(80)}
    return sorted(steps)


class Bench:
    """One number of facts.

    Args:
        keys: (M, E).
        asked: (Q, E).
        wanted: The recall to aim at.
    """

    def __init__(self, keys: Half, asked: Single, wanted: float) -> None:
        self.keys, self.wanted = keys, wanted
        self.choosing, self.measuring = asked[::2], np.ascontiguousarray(asked[1::2])
        self.choosing_best = exact_best(keys, self.choosing, _WANTED)
        self.best = exact_best(keys, self.measuring, _WANTED)
        self.results: list[dict[str, Any]] = []

    def note(
        self, name: str, search: Search, *, built: float, size: float, change: float | None,
        setting: int | None = None,
    ) -> None:  # fmt: skip
        """Measure a search."""
        times = []
        for query in self.measuring:
            started = time.perf_counter()
            search(query[None])
            times.append(1000 * (time.perf_counter() - started))
        self.results.append(
            {
                "num_facts": len(self.keys),
                "method": name,
                "setting": setting,
                "build_seconds": built,
                "bytes_per_fact": size / len(self.keys),
                "recall_at_64": recall(search, self.measuring, self.best),
                "query_milliseconds": float(np.median(times)),
                "change_milliseconds": change,
            }
        )

    def exact(self) -> None:
        """Score all keys."""
        self.note("exact scan", partial(scan, self.keys), built=0, size=0, change=0)

    def ours(self) -> None:
        """The index of this library."""
        vectors = as_vectors(self.keys)
        started = time.perf_counter()
        index = FactIndex.build(vectors, queries=self.choosing, recall=self.wanted)
        built = time.perf_counter() - started

        def search(query: Single) -> Int:
            return rescored(self.keys, query, index.candidates(query)[0])

        later = replace(vectors, sequence=2, fingerprint="at 2")
        names = [vectors.fact_ids[place * len(self.keys) // 6] for place in range(1, 6)]
        turns = iter(names)
        change = milliseconds(lambda: index.updated(later, [next(turns)]))
        self.note("kblam.index", search, built=built, size=index.nbytes, change=change,
                  setting=index.width)  # fmt: skip

    def other(self, name: str, factory: str, knob: str, *, factor: int = 0) -> None:
        """An index of faiss.

        Args:
            name: For the table.
            factory: How faiss makes it.
            knob: What is turned for recall: ``nprobe``, ``efSearch`` or ``k``.
            factor: Above 0 the keys of that many candidates are scored afterwards.
        """
        started = time.perf_counter()
        index = faiss.index_factory(self.keys.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
        sample = np.random.default_rng(0).permutation(len(self.keys))[:65_536]
        index.train(self.keys[np.sort(sample)].astype(np.float32))
        for start in range(0, len(self.keys), _BLOCK):
            index.add(self.keys[start : start + _BLOCK].astype(np.float32))
        built = time.perf_counter() - started

        def search(setting: int) -> Search:
            # A search that is not asked for more finds this many.
            many = setting if knob == "k" else factor or _WANTED

            def found(query: Single) -> Int:
                if knob != "k":
                    (index.hnsw if knob == "efSearch" else index).__setattr__(knob, setting)
                places: Int = index.search(query, many)[1][0]
                places = places[places >= 0]
                return rescored(self.keys, query, places) if many > _WANTED else places

            return found

        most = index.nlist if knob == "nprobe" else len(self.keys) // 4
        settings = doubled(most, 1 if knob == "nprobe" else _WANTED)
        setting = least(settings, search, self.choosing, self.choosing_best, self.wanted)
        size = faiss.serialize_index(index).nbytes
        self.note(name, search(setting), built=built, size=size, change=None, setting=setting)
        # Last, for a fact that is replaced may get another number.
        self.results[-1]["change_milliseconds"] = self._changed(index)

    def _changed(self, index: Any) -> float | None:
        """Milliseconds to replace one fact; None where it cannot be done."""
        turns = iter(range(1, 6))

        def change() -> None:
            place = next(turns) * len(self.keys) // 6
            index.remove_ids(np.array([place]))
            key = self.keys[place : place + 1].astype(np.float32)
            if isinstance(index, faiss.IndexIVF):
                index.add_with_ids(key, np.array([place]))
            else:
                index.add(key)

        try:
            return milliseconds(change)
        except RuntimeError:
            return None


def measure(keys: Half, asked: Single, wanted: float) -> list[dict[str, Any]]:
    """Measure all ways to search these facts."""
    bench = Bench(keys, asked, wanted)
    cells = int(4 * np.sqrt(len(keys)))
    ways: list[Callable[[], None]] = [
        bench.exact,
        bench.ours,
        partial(bench.other, "IVF, half precision", f"IVF{cells},SQfp16", "nprobe"),
        partial(
            bench.other, "IVF, PQ, rescored", f"IVF{cells},PQ32x4fs", "nprobe",
            factor=len(keys) // 25,
        ),
        partial(bench.other, "PQ, rescored", "PQ32x4fs", "k"),
    ]  # fmt: skip
    if len(keys) <= _MOST_IN_GRAPH:
        ways.append(partial(bench.other, "HNSW", "HNSW16,SQfp16", "efSearch"))
    for way in ways:
        way()
        print(_line(bench.results[-1]), flush=True)
    return bench.results


def _line(result: dict[str, Any]) -> str:
    change = result["change_milliseconds"]
    return (
        f"| {result['num_facts']:,} | {result['method']} | {result['setting'] or '-'} | "
        f"{result['build_seconds']:.1f} | {result['bytes_per_fact']:.1f} | "
        f"{result['recall_at_64']:.3f} | {result['query_milliseconds']:.2f} | "
        f"{'-' if change is None else f'{change:.2f}'} |"
    )


def plot(results: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw the time of a query over the number of facts."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for method in dict.fromkeys(result["method"] for result in results):
        of_method = [result for result in results if result["method"] == method]
        axes.loglog(
            [result["num_facts"] for result in of_method],
            [result["query_milliseconds"] for result in of_method],
            marker="o",
            label=method,
        )
    axes.set(xlabel="facts", ylabel="milliseconds a query")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print a table, and write the figures."""
    parser = argparse.ArgumentParser(description="Ways to search among very many facts.")
    parser.add_argument("--num-facts", type=int, nargs="+", default=[100_000])
    parser.add_argument("--vectors", type=Path, metavar="FILE", help="real keys and questions")
    parser.add_argument("--recall", type=float, default=0.99, help="of the exact 64 best")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures to this file")
    parser.add_argument("--plot", type=Path, metavar="OUT", help="draw the times to this file")
    parsed = parser.parse_args(arguments)
    print(
        "| facts | method | setting | build s | bytes a fact | recall@64 | query ms | change ms |"
    )
    print("| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |", flush=True)
    results: list[dict[str, Any]] = []
    for num_facts in parsed.num_facts:
        results += measure(*read(parsed.vectors, num_facts), parsed.recall)
    figures = {"threads": faiss.omp_get_max_threads(), "results": results}
    if parsed.json is not None:
        parsed.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    if parsed.plot is not None:
        plot(results, parsed.plot)


if __name__ == "__main__":
    main()
