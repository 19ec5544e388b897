"""What this machine can do at best: the floor under every other figure.

    python benchmarks/machine.py --json OUT

Bytes read a second (the sum of a large tensor) and operations a second (products of matrices),
with as many threads as PyTorch uses, and what follows of them: no decoding step of a model can be
quicker than reading its weights once, and no exact search than reading all keys once.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

_REPEATS = 9
_DIMENSION = 384  # of all-MiniLM-L6-v2
_PARAMETERS = 134_515_008  # of SmolLM2-135M


def seconds(work: Callable[[], object]) -> float:
    """Median of some calls."""
    times = []
    for _ in range(_REPEATS):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def measure() -> dict[str, Any]:
    """Bandwidth and peak, and the floors."""
    large = torch.ones(2**28)  # 1 GiB
    bandwidth = large.nbytes / seconds(large.sum)
    size, peak = 2048, {}
    for dtype in (torch.float32, torch.bfloat16):
        one = torch.randn(size, size).to(dtype)
        peak[str(dtype).removeprefix("torch.")] = 2 * size**3 / seconds(lambda m=one: m @ m)
    return {
        "threads": torch.get_num_threads(),
        "bytes_per_second": bandwidth,
        "operations_per_second": peak,
        "floors_in_seconds": {
            "one decoding step of 135M weights in float32": 4 * _PARAMETERS / bandwidth,
            **{
                f"one exact search of {count:,} half-precision keys": 2
                * _DIMENSION
                * count
                / bandwidth
                for count in (1_000, 10_000, 100_000, 1_000_000)
            },
        },
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description="What this machine can do at best.")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures to this file")
    parsed = parser.parse_args(arguments)
    found = measure()
    print(f"{found['threads']} threads, {found['bytes_per_second'] / 1e9:.1f} GB read a second")
    for dtype, peak in found["operations_per_second"].items():
        print(f"{peak / 1e9:,.0f} thousand million operations a second in {dtype}")
    for name, floor in found["floors_in_seconds"].items():
        print(f"{1000 * floor:8.2f} ms  {name}")
    if parsed.json is not None:
        parsed.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
