"""What facts take: memory, time to open a store, and time for one changed fact.

    python benchmarks/memory.py --num-facts 1000 10000 100000 --json OUT --plot OUT.png
    python benchmarks/memory.py --num-facts 100000 --vectors int8

Each store is made of made-up facts with random unit vectors. It is opened twice, by a fresh process
each time: the first reads the vectors from the database and leaves them in a file beside it, the
second maps that file. Each then searches all facts once, so that all keys have been touched. Memory
is what the process gained between importing the libraries and that search: its own pages, and those
of the file, which all processes share.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kblam._knowledge_base import EncodedFacts, KnowledgeBase
from kblam.attention import select_top_k
from kblam.knowledge import KnowledgeStore, Triple, VectorForm

_DIMENSION = 384  # of all-MiniLM-L6-v2
_TOP_K = 16


class RandomVectors:
    """Random unit vectors for any text."""

    name = "random"
    dimension = _DIMENSION

    def __init__(self) -> None:
        self._generator = np.random.default_rng(0)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts, (N, E) float32 with rows of unit length."""
        rows = self._generator.standard_normal((len(texts), _DIMENSION), dtype=np.float32)
        unit: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return unit


def resident() -> dict[str, int]:
    """Bytes of this process in memory: its own and those of files; empty but on Linux."""
    found = {}
    status = Path("/proc/self/status")
    for line in status.read_text().splitlines() if status.exists() else ():
        name, _, rest = line.partition(":")
        if name in ("RssAnon", "RssFile"):
            found[name] = 1024 * int(rest.split()[0])
    return found


def seconds(work: Callable[[], object]) -> float:
    """Time one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def search(facts: EncodedFacts) -> None:
    """Search all facts once."""
    select_top_k(20.0 * torch.randn(1, _DIMENSION), facts.keys, _TOP_K)


def opening(path: Path) -> dict[str, Any]:
    """Open a store, search it, change it and put it back, in a process of its own."""
    search_nothing = torch.zeros(1, _DIMENSION, dtype=torch.float16)
    select_top_k(torch.ones(1, _DIMENSION), search_nothing, 1)
    encoder = RandomVectors()
    before = resident()
    started = time.perf_counter()
    with KnowledgeStore(path) as store:
        base = KnowledgeBase(store, encoder, torch.device("cpu"))
        facts = base.read()
        opened = time.perf_counter() - started
        first = seconds(lambda: search(facts))
        after = resident()
        scans = sorted(seconds(lambda: search(facts)) for _ in range(9))
        return {
            "seconds_to_open": opened,
            "seconds_of_first_search": first,
            "seconds_of_search": scans[len(scans) // 2],
            "vector_bytes": facts.keys.nbytes + facts.values.nbytes,
            "index_bytes": facts.vectors.rows.nbytes + facts.vectors.fact_ids.nbytes,
            "own_bytes": after["RssAnon"] - before["RssAnon"] if after else None,
            "file_bytes": after["RssFile"] - before["RssFile"] if after else None,
        }


def changing(path: Path) -> dict[str, Any]:
    """Change single facts of an open store: seconds until they are in the tensors."""
    found: dict[str, list[float]] = {"replaced": [], "added": [], "removed": []}
    with KnowledgeStore(path) as store:
        base = KnowledgeBase(store, RandomVectors(), torch.device("cpu"))
        base.read()
        for turn in range(5):
            store.upsert((f"item {turn}", "code", f"changed {turn}"))
            found["replaced"].append(seconds(base.read))
            store.add((f"new {turn}", "code", f"new {turn}"))
            found["added"].append(seconds(base.read))
        for turn in range(3):
            store.remove(entity=f"new {turn}")
            found["removed"].append(seconds(base.read))
        store.remove(property="code", entity="new 3")
        store.remove(property="code", entity="new 4")
    return {f"seconds_for_one_{kind}": sorted(times)[len(times) // 2]
            for kind, times in found.items()}  # fmt: skip


def measure(num_facts: int, folder: Path, form: VectorForm) -> dict[str, Any]:
    """Measure one number of facts."""
    path = folder / (f"{num_facts}.db" if form == "half" else f"{num_facts}-{form}.db")
    with KnowledgeStore(path, vectors=form) as store:
        if len(store) != num_facts:
            store.add(Triple(f"item {i}", "code", f"code {i}") for i in range(num_facts))
        store.encode(RandomVectors(), batch_size=4096)
    for old in folder.glob(f"{path.name}-vectors-*"):
        old.unlink()
    result: dict[str, Any] = {"num_facts": num_facts, "vectors": form}
    result["database_bytes"] = path.stat().st_size
    for name in ("first", "later"):
        result[name] = _apart("opening", path)
    result["change"] = _apart("changing", path)
    result["bytes_per_fact"] = (
        result["later"]["vector_bytes"] + result["later"]["index_bytes"]
    ) / num_facts
    return result


def _apart(work: str, path: Path) -> dict[str, Any]:
    """Run a function of this file in a process of its own."""
    output = subprocess.run(
        [sys.executable, __file__, "--apart", work, str(path)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    found: dict[str, Any] = json.loads(output)
    return found


def _line(result: dict[str, Any]) -> str:
    first, later, change = result["first"], result["later"], result["change"]
    own = "" if later["own_bytes"] is None else (
        f", gained {later['own_bytes'] / 2**20:.0f} MiB own + {later['file_bytes'] / 2**20:.0f} "
        "MiB of files"
    )  # fmt: skip
    return (
        f"{result['num_facts']:>9,} facts: {result['bytes_per_fact']:,.0f} bytes a fact{own}; "
        f"opened in {first['seconds_to_open']:.2f} s, then {later['seconds_to_open']:.3f} s; "
        f"search {1000 * later['seconds_of_search']:.1f} ms; one fact replaced "
        f"{1000 * change['seconds_for_one_replaced']:.1f} ms, added "
        f"{1000 * change['seconds_for_one_added']:.1f} ms, removed "
        f"{1000 * change['seconds_for_one_removed']:.1f} ms"
    )


def plot(results: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw the times over the number of facts."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    sizes = [result["num_facts"] for result in results]
    for label, values in {
        "first opening": [r["first"]["seconds_to_open"] for r in results],
        "later opening": [r["later"]["seconds_to_open"] for r in results],
        "one search": [r["later"]["seconds_of_search"] for r in results],
        "one fact replaced": [r["change"]["seconds_for_one_replaced"] for r in results],
    }.items():
        axes.loglog(sizes, values, marker="o", label=label)
    axes.set(xlabel="facts", ylabel="seconds")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print a line for each number of facts, and write the figures."""
    parser = argparse.ArgumentParser(description="Memory, opening and changing of fact stores.")
    parser.add_argument("--num-facts", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures to this file")
    parser.add_argument("--plot", type=Path, metavar="OUT", help="draw the times to this file")
    parser.add_argument("--stores", type=Path, help="a folder with the stores, made if missing")
    parser.add_argument("--vectors", choices=["half", "int8"], default="half")
    parser.add_argument("--apart", nargs=2, help=argparse.SUPPRESS)
    parsed = parser.parse_args(arguments)
    if parsed.apart is not None:
        work, path = parsed.apart
        print(json.dumps({"opening": opening, "changing": changing}[work](Path(path))))
        return
    results = []
    if parsed.stores is not None:
        parsed.stores.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for num_facts in parsed.num_facts:
            results.append(measure(num_facts, parsed.stores or Path(folder), parsed.vectors))
            print(_line(results[-1]), flush=True)
    figures = {"threads": torch.get_num_threads(), "dimension": _DIMENSION, "results": results}
    if parsed.json is not None:
        parsed.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    if parsed.plot is not None:
        plot(results, parsed.plot)


if __name__ == "__main__":
    main()
