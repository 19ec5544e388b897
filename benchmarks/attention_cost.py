"""What facts cost: time to the first token, time per token and memory, by number of facts.

    python benchmarks/attention_cost.py --num-facts 1000 10000 100000 --json OUT

The base model without facts is measured in the same run, each repeat of it right before one with
facts, so that whatever else the machine does falls on both. Attention costs the same whatever the
facts say: the facts are made up, and their vectors are drawn at random instead of embedded. The
question is embedded by the real encoder, anew each time, since that is part of the time to the
first token.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kblam._knowledge_base import KnowledgeBase
from kblam.config import GenerationOptions
from kblam.encoding import SentenceEncoder
from kblam.evaluation.result import versions
from kblam.knowledge import KnowledgeStore, Triple
from kblam.model import KBLaM
from kblam.weights import DEFAULT_BASE, DEFAULT_ENCODER

# Answers to it are long, so that there are tokens to time.
QUESTION = "Explain in detail, in several sentences, how a steam engine turns heat into motion."
_MARK = "benchmark item "


@dataclass(frozen=True)
class Timing:
    """One answer: seconds to its first token, and seconds for each token after it."""

    first: float
    each: float


def made_up_facts(count: int) -> Iterator[Triple]:
    """Facts that :class:`RandomFactVectors` has vectors for."""
    return (Triple(f"{_MARK}{i}", "code", f"{_MARK}{i}") for i in range(count))


class RandomFactVectors(SentenceEncoder):
    """Random unit vectors for the made-up facts, the real encoder for everything else."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._generator = np.random.default_rng(0)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts, (N, E) float32 with rows of unit length."""
        if not texts or not all(_MARK in text for text in texts):
            return super().encode(texts)
        rows = self._generator.standard_normal((len(texts), self.dimension), dtype=np.float32)
        unit: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return unit


def letters(number: int) -> str:
    """A number as letters: capitals and figures would be taken for a part of a name.

    The question without its name would be another one then, and be embedded by itself.
    """
    return "".join(chr(ord("a") + int(digit)) for digit in str(number))


def measure(model: KBLaM, number: int, new_tokens: int) -> Timing:
    """Ask once, numbered: the encoder remembers the questions it has embedded."""
    question = f"{QUESTION} ({letters(number)})"
    started = time.perf_counter()
    answer = model.ask(question, GenerationOptions(max_new_tokens=new_tokens))
    total = time.perf_counter() - started
    # Reading the store happens before the answer's own clock starts.
    first = total - answer.seconds + answer.time_to_first_token
    return Timing(first, (total - first) / max(answer.usage.output_tokens - 1, 1))


def compare(
    model: KBLaM, store: KnowledgeStore, *, repeats: int, new_tokens: int
) -> tuple[list[Timing], list[Timing]]:
    """Ask without and with the facts, in turn.

    Returns:
        The timings without and with.
    """
    attached = model.with_options().attach(store)
    numbers = range(len(store), len(store) + repeats + 1)  # other ones for each size
    pairs = [(measure(model, n, new_tokens), measure(attached, n, new_tokens)) for n in numbers]
    without, with_facts = zip(*pairs[1:], strict=True)  # the first pair warms up
    return list(without), list(with_facts)


def cost(
    model: KBLaM, num_facts: int, folder: Path, *, repeats: int, new_tokens: int
) -> dict[str, Any]:
    """Measure one number of facts."""
    path = folder / f"{num_facts}.db"
    with KnowledgeStore.from_source(made_up_facts(num_facts), path) as store:
        store.encode(model.encoder)
        without, with_facts = compare(model, store, repeats=repeats, new_tokens=new_tokens)
        held = KnowledgeBase(store, model.encoder, model.base.device).read()
        attended = held.keys.nbytes + held.values.nbytes
        shared = held.keys.data_ptr() == held.vectors.keys.ctypes.data
        in_memory = attended if shared else attended + held.vectors.nbytes
    on_disk = path.stat().st_size
    first, each = (statistics.median(getattr(t, n) for t in with_facts) for n in ("first", "each"))
    base_first, base_each = (
        statistics.median(getattr(t, n) for t in without) for n in ("first", "each")
    )
    return {
        "num_facts": num_facts,
        "seconds_to_first_token": first,
        "seconds_per_new_token": each,
        "bytes_per_fact": in_memory / num_facts,
        "attended_bytes_per_fact": attended / num_facts,
        "disk_bytes_per_fact": on_disk / num_facts,
        "base_seconds_to_first_token": base_first,
        "base_seconds_per_new_token": base_each,
        "first_token_ratio": first / base_first,
        "new_token_ratio": each / base_each,
    }


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure every number of facts."""
    model = KBLaM.from_pretrained(
        arguments.base_model,
        adapter=arguments.adapter,
        encoder=RandomFactVectors(arguments.encoder),
        device=arguments.device,
        # Made-up facts answer nothing: a refusal would end the answer before it is timed.
        refusal_threshold=1.0,
    )
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for num_facts in arguments.num_facts:
            results.append(
                cost(
                    model,
                    num_facts,
                    Path(folder),
                    repeats=arguments.repeats,
                    new_tokens=arguments.new_tokens,
                )
            )
            print(_line(results[-1]), flush=True)
    return {
        "model": model.model_name,
        "adapter": model.adapter_name,
        "versions": versions(),
        "device": str(model.base.device),
        "dtype": str(model.base.dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "prompt_tokens": model.count_tokens(QUESTION),
        "new_tokens": arguments.new_tokens,
        "repeats": arguments.repeats,
        "base": {
            "seconds_to_first_token": _median(results, "base_seconds_to_first_token"),
            "seconds_per_new_token": _median(results, "base_seconds_per_new_token"),
        },
        "results": results,
    }


def _median(results: Sequence[dict[str, Any]], name: str) -> float:
    return float(statistics.median(result[name] for result in results))


def _line(result: dict[str, Any]) -> str:
    return (
        f"{result['num_facts']:>9,} facts: "
        f"first token {result['seconds_to_first_token']:.3f} s "
        f"({result['first_token_ratio']:.2f} x base), "
        f"each token {1000 * result['seconds_per_new_token']:.1f} ms "
        f"({result['new_token_ratio']:.2f} x base), "
        f"{result['bytes_per_fact']:,.0f} bytes a fact"
    )


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Time and memory that facts cost, against the base model without facts."
    )
    parser.add_argument("--num-facts", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures to this file")
    parser.add_argument("--repeats", type=int, default=5, help="medians are over so many answers")
    parser.add_argument("--new-tokens", type=int, default=33, help="length of the timed answers")
    parser.add_argument("--base-model", default=DEFAULT_BASE)
    parser.add_argument("--adapter", default="default")
    parser.add_argument("--encoder", default=DEFAULT_ENCODER, help="the adapter's")
    parser.add_argument("--device", default=None)
    parsed = parser.parse_args(arguments)
    if min(parsed.num_facts) < 1 or parsed.repeats < 1 or parsed.new_tokens < 2:
        parser.error("expected --num-facts >= 1, --repeats >= 1 and --new-tokens >= 2")
    return parsed


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print a line for each number of facts, and write the figures."""
    parsed = parse(arguments)
    figures = run(parsed)
    if parsed.json is not None:
        parsed.json.parent.mkdir(parents=True, exist_ok=True)
        parsed.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
