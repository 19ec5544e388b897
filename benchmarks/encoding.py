"""What embedding texts takes: many at once, a single question, and a whole store.

    python benchmarks/encoding.py --facts FACTS.jsonl --questions QUESTIONS.jsonl --json OUT

The baseline is sentence-transformers given one text after the other, in the order of the store. All
ways are timed in turns in one process, so that their ratios hold where the machine has other work.
"Cold" is a question for which the weights have left the processor's cache, as they have after a
decoder's turn. Without files, made-up facts and questions are embedded, and recall is not measured.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

from kblam._questions import Question, load_facts, load_questions
from kblam._quiet import quiet_loading
from kblam.encoding import SentenceEncoder
from kblam.knowledge import KnowledgeStore, Triple
from kblam.weights import DEFAULT_ENCODER, resolve_encoder

_BASELINE = "sentence-transformers, one by one"
_LARGE = "sentence-transformers, batches of 256"
# More than any processor's cache holds.
_EVICTED_FLOATS = 150_000_000
_RECALL_BATCH = 256

Way = Callable[[list[str]], NDArray[Any]]


def seconds(work: Callable[[], object]) -> float:
    """Time one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def load_ways(name: str) -> dict[str, Way]:
    """The ways to embed texts, by name."""
    with quiet_loading():
        model = SentenceTransformer(resolve_encoder(name).path, device="cpu")
    encoders = {
        "float32": SentenceEncoder(name, precision="float32"),
        "bfloat16": SentenceEncoder(name, precision="bfloat16"),
    }

    def plain(texts: list[str], batch_size: int = 32) -> NDArray[Any]:
        found: NDArray[Any] = model.encode(
            texts, batch_size=batch_size, normalize_embeddings=True, show_progress_bar=False
        )
        return found

    def afresh(encoder: SentenceEncoder) -> Way:
        def encode(texts: list[str]) -> NDArray[Any]:
            encoder.forget()
            return encoder.encode(texts)

        return encode

    ways: dict[str, Way] = {
        _BASELINE: lambda texts: np.concatenate([plain([text]) for text in texts]),
        "sentence-transformers, batches of 32": plain,
        _LARGE: lambda texts: plain(texts, 256),
    }
    ways |= {f"kblam, {precision}": afresh(encoder) for precision, encoder in encoders.items()}
    return ways


def bulk(ways: dict[str, Way], texts: list[str], loop: int, rounds: int) -> dict[str, Any]:
    """Texts a second of each way, the ratios to the baseline, and cosines to its vectors."""
    expected = ways["sentence-transformers, batches of 32"](texts)
    found: dict[str, list[float]] = {name: [] for name in ways}
    cosines = {}
    for _ in range(rounds):
        for name, way in ways.items():
            part = texts[:loop] if name == _BASELINE else texts
            found[name].append(len(part) / seconds(partial(way, part)))
    for name, way in ways.items():
        part = texts[:loop] if name == _BASELINE else texts
        cosines[name] = float((way(part) * expected[: len(part)]).sum(1).min())
    return {
        name: {
            "texts_per_second": statistics.median(speeds),
            "ratio": statistics.median(
                speed / base for speed, base in zip(speeds, found[_BASELINE], strict=True)
            ),
            "lowest_cosine": cosines[name],
        }
        for name, speeds in found.items()
    }


def single(ways: dict[str, Way], questions: list[str], evict: bool) -> dict[str, float]:
    """Milliseconds of a single question, the median over questions, all ways in turns."""
    cold = torch.ones(_EVICTED_FLOATS if evict else 1)
    found: dict[str, list[float]] = {name: [] for name in ways if "batches" not in name}
    for question in questions:
        for name, times in found.items():
            if evict:
                cold.sum()
            else:
                ways[name]([f"{question}?"])
            times.append(1000 * seconds(partial(ways[name], [question])))
    return {name: statistics.median(times) for name, times in found.items()}


def recall(
    ways: dict[str, Way], facts: Sequence[Triple], questions: Sequence[Question]
) -> dict[str, float]:
    """The share of questions whose nearest key is that of a gold fact, in percent."""
    asked = [question for question in questions if question.entity and question.property]
    keys = list(dict.fromkeys(fact.key_text for fact in facts))
    gold = {(fact.entity, fact.property): fact.key_text for fact in facts}
    golds = [gold.get((str(question.entity), str(question.property))) for question in asked]
    found = {}
    for name in [name for name in ways if name not in (_BASELINE, _LARGE)]:
        # Stores keep half precision.
        rows = ways[name](keys).astype(np.float16).astype(np.float32)
        hits = 0
        for start in range(0, len(asked), _RECALL_BATCH):
            part = asked[start : start + _RECALL_BATCH]
            best = (ways[name]([question.text for question in part]) @ rows.T).argmax(1)
            hits += sum(
                keys[place] == key
                for place, key in zip(best, golds[start : start + len(part)], strict=True)
            )
        found[name] = 100 * hits / len(asked)
    return found


def whole_store(
    encoder: SentenceEncoder, facts: Sequence[Triple], sizes: Sequence[int]
) -> dict[int, float]:
    """Facts a second of ``KnowledgeStore.encode``, by its batch size."""
    found = {}
    for size in sizes:
        encoder.forget()
        with KnowledgeStore() as store:
            store.add(facts)
            count = len(store)
            taken = seconds(partial(store.encode, encoder, batch_size=size))
        found[size] = count / taken
    return found


def report(figures: dict[str, Any]) -> None:
    """Print the figures as tables."""
    print(f"{'many texts':<40} {'texts/s':>9} {'ratio':>7} {'lowest cosine':>14}")
    for name, row in figures["bulk"].items():
        print(
            f"{name:<40} {row['texts_per_second']:>9,.0f} {row['ratio']:>6.1f}x "
            f"{row['lowest_cosine']:>14.6f}"
        )
    print(f"\n{'one question, ms':<40} {'warm':>9} {'cold':>7}")
    for name, warm in figures["warm_ms"].items():
        print(f"{name:<40} {warm:>9.2f} {figures['cold_ms'][name]:>7.2f}")
    if figures["recall"]:
        print(f"\n{'recall@1 of the gold fact, %':<40} {'':>9} {'points':>7}")
        base = next(iter(figures["recall"].values()))
        for name, share in figures["recall"].items():
            print(f"{name:<40} {share:>9.2f} {share - base:>+7.2f}")
    print(f"\n{'a whole store, by batch size':<40} {'facts/s':>9}")
    for size, speed in figures["store"].items():
        print(f"{size:<40,} {speed:>9,.0f}")


def plot(figures: dict[str, Any], path: Path) -> None:
    """Draw throughput and latency."""
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.5), layout="constrained")
    names = list(figures["bulk"])
    left.barh(names, [figures["bulk"][name]["texts_per_second"] for name in names])
    left.set(xlabel="texts a second")
    singles = list(figures["warm_ms"])
    places = np.arange(len(singles))
    right.barh(places - 0.2, [figures["warm_ms"][name] for name in singles], 0.4, label="warm")
    right.barh(places + 0.2, [figures["cold_ms"][name] for name in singles], 0.4, label="cold")
    right.set(xlabel="ms for one question", yticks=places, yticklabels=singles)
    right.legend()
    for axes in (left, right):
        axes.invert_yaxis()
        axes.grid(axis="x", alpha=0.3)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def measure(parsed: argparse.Namespace) -> dict[str, Any]:
    """Take all figures."""
    if parsed.facts is None:
        facts = [Triple(f"item {i}", f"code {i % 7}", f"value {i}") for i in range(parsed.limit)]
    else:
        facts = load_facts(parsed.facts)
    questions = load_questions(parsed.questions) if parsed.questions else []
    asked = [question.text for question in questions] or [
        f"What is the {fact.property} of {fact.entity}?" for fact in facts
    ]
    ways = load_ways(parsed.encoder)
    texts = list(dict.fromkeys(fact.key_text for fact in facts))[: parsed.limit]
    few = asked[:: max(1, len(asked) // parsed.turns)][: parsed.turns]
    return {
        "threads": torch.get_num_threads(),
        "texts": len(texts),
        "bulk": bulk(ways, texts, parsed.loop, parsed.rounds),
        "warm_ms": single(ways, few, evict=False),
        "cold_ms": single(ways, few, evict=True),
        "recall": recall(ways, facts, questions) if questions and parsed.recall else {},
        "store": whole_store(
            SentenceEncoder(parsed.encoder), facts[: parsed.limit], parsed.store_batch_sizes
        ),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print tables, and write the figures."""
    parser = argparse.ArgumentParser(description="What embedding texts takes.")
    parser.add_argument("--encoder", default=DEFAULT_ENCODER, help="a sentence encoder")
    parser.add_argument("--facts", type=Path, metavar="FACTS.jsonl", help="facts to embed")
    parser.add_argument("--questions", type=Path, metavar="QUESTIONS.jsonl", help="for recall")
    parser.add_argument("--limit", type=int, default=2000, help="texts embedded in one go")
    parser.add_argument("--loop", type=int, default=200, help="texts of them one by one")
    parser.add_argument("--rounds", type=int, default=3, help="times that all ways take turns")
    parser.add_argument("--turns", type=int, default=40, help="single questions")
    parser.add_argument("--store-batch-sizes", type=int, nargs="+", default=[512, 2048])
    parser.add_argument("--no-recall", dest="recall", action="store_false", help="leave it out")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures to this file")
    parser.add_argument("--plot", type=Path, metavar="OUT", help="draw them to this file")
    parsed = parser.parse_args(arguments)
    figures = measure(parsed)
    report(figures)
    if parsed.json is not None:
        parsed.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    if parsed.plot is not None:
        plot(figures, parsed.plot)


if __name__ == "__main__":
    main()
