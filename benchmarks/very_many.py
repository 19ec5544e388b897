"""A store of very many facts: opening, answering with the index and without, changing one fact.

    python benchmarks/very_many.py STORE.db --json OUT

The store is a real one, of a million facts, say, encoded by the adapter's encoder
(``kblam index FACTS.jsonl STORE.db``). It is used as it is, but for facts that are changed and put
back. Measured, in processes of their own:

- opening: from the open of the store to the end of the first answer, and the memory gained beyond
  that of the model, scanning all facts and with the index; what is left beside the store of an
  earlier opening is used, as it would be;
- answering: time to the first token and per new token, of the base without facts, with the index
  and with an exact scan, in turn; ratios are medians over the rounds of the time divided by the
  base's in the same round;
- the index's recall of the exact best 64 facts for questions about facts of the store;
- one fact changed: from its commit to the first token of an answer, less the median of answers
  without a change, the embedding included.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from attention_cost import QUESTION, letters
from latency import timed
from memory import resident
from torch import Tensor

from kblam._knowledge_base import KnowledgeBase
from kblam.attention import select_top_k
from kblam.config import GenerationOptions
from kblam.evaluation.result import versions
from kblam.knowledge import Fact, KnowledgeStore
from kblam.model import KBLaM

_WANTED = 64
# Asked in other words than those that the index was fitted to.
_FORMS = ("Tell me the {p} of {e}.", "What's {e}'s {p}?", "I need to know the {p} of {e}.")
_FIRST = GenerationOptions(max_new_tokens=1)
_BUILDING = 1800.0


def load(adapter: str) -> KBLaM:
    """The model, refusing nothing: a refusal would end an answer before it is timed."""
    return KBLaM.from_pretrained(adapter=adapter, refusal_threshold=1.0)


def knowledge(model: KBLaM) -> KnowledgeBase:
    """What a model reads its facts from."""
    base = model._attached[0]
    assert base is not None
    return base


def opening(path: Path, adapter: str, *, exact: bool) -> dict[str, Any]:
    """Open a store and answer one question."""
    model = load(adapter)
    with KnowledgeStore() as warm:
        warm.add(("Aurora", "budget", "48200 euros"))
        model.attach(warm).ask("What is the budget of Aurora?", _FIRST)
    before = resident()
    started = time.perf_counter()
    with KnowledgeStore(path) as store:
        attached = model.with_options().attach(store, exact=exact)
        attached.ask(QUESTION, _FIRST)
        first = time.perf_counter() - started
        base = knowledge(attached)
        base.wait_for_index(_BUILDING)
        attached.ask(QUESTION, _FIRST)
        after = resident()
        return {
            "seconds_to_first_answer": first,
            "seconds_to_index": time.perf_counter() - started,
            "has_index": base.candidates(base.read()) is not None,
            **{name: after[name] - before[name] for name in after},
        }


def samples(store: KnowledgeStore, base: KnowledgeBase, count: int) -> list[Fact]:
    """Facts to ask for, the same for each run."""
    ids = base.read().vectors.fact_ids
    chosen = np.random.default_rng(1).choice(len(ids), count, replace=False)
    return [fact for fact in store.get_many([ids[int(c)] for c in chosen]) if fact is not None]


def recall(model: KBLaM, facts: Sequence[Fact]) -> dict[str, float]:
    """How much of the exact best the index finds for questions, and the gold fact's rank."""
    base = knowledge(model)
    held = base.read()
    queries: list[Tensor] = []
    find = base.candidates(held)
    assert find is not None
    base.candidates = lambda _: lambda query: (queries.append(query), find(query))[1]  # type: ignore
    first = []
    for turn, fact in enumerate(facts):
        question = _FORMS[turn % len(_FORMS)].format(p=fact.property_text, e=fact.entity_text)
        found = model.ask(question, _FIRST).facts
        first.append((found[0].fact.entity, found[0].fact.property) == (fact.entity, fact.property))
    del base.candidates
    shares, best = [], []
    for query in queries:
        found = find(query)
        assert found is not None
        exact = select_top_k(query, held.keys, _WANTED)[1][0]
        there = torch.isin(exact, found[0][0][found[1][0]])
        shares.append(there.float().mean().item())
        best.append(there[0].item())
    return {
        "questions": len(queries),
        f"recall_at_{_WANTED}": statistics.mean(shares),
        "recall_at_1_of_exact": statistics.mean(best),
        "gold_fact_first": statistics.mean(first),
    }


def rounds(ways: dict[str, KBLaM], repeats: int, new_tokens: int) -> dict[str, dict[str, float]]:
    """Ask in turn, and take medians."""
    times = [
        {
            name: timed(model, f"{QUESTION} ({letters(turn)}, by {name})", new_tokens)
            for name, model in ways.items()
        }
        for turn in range(repeats + 1)
    ][1:]  # the first round warms up
    median = statistics.median
    return {
        name: {
            "seconds_to_first_token": median(t[name].first for t in times),
            "seconds_per_new_token": median(t[name].each for t in times),
            "first_token_ratio": median(t[name].first / t["base"].first for t in times),
            "new_token_ratio": median(t[name].each / t["base"].each for t in times),
        }
        for name in ways
    }


def changing(model: KBLaM, facts: Sequence[Fact]) -> dict[str, float]:
    """Change facts one by one: seconds by which the next answer is later."""
    store, plain, changed, embedding = model.store, [], [], []
    assert store is not None

    def first_token(turn: int, kind: str) -> float:
        started = time.perf_counter()
        model.ask(f"{QUESTION} ({letters(turn)}, {kind})", _FIRST)
        return time.perf_counter() - started

    for turn, fact in enumerate(facts):
        plain.append(first_token(turn, "nothing changed"))
        value = f"{fact.value} {turn}"
        store.upsert({"id": fact.id, "entity": fact.entity, "property": fact.property,
                      "value": value})  # fmt: skip
        changed.append(first_token(turn, "one fact changed"))
        started = time.perf_counter()
        model.encoder.encode([f"{value} once more"])
        embedding.append(time.perf_counter() - started)
    for fact in facts:
        store.upsert({"id": fact.id, "entity": fact.entity, "property": fact.property,
                      "value": fact.value})  # fmt: skip
    later = statistics.median(c - p for c, p in zip(changed, plain, strict=True))
    return {
        "seconds_later": later,
        "seconds_of_embedding": statistics.median(embedding),
        "seconds_beyond_embedding": later - statistics.median(embedding),
    }


def answering(path: Path, adapter: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure answers, the index, and changes."""
    model = load(adapter)
    bare = KBLaM.from_pretrained(adapter=None)
    with KnowledgeStore(path) as store:
        indexed = model.with_options().attach(store)
        indexed.ask(QUESTION, _FIRST)
        base = knowledge(indexed)
        started = time.perf_counter()
        base.wait_for_index(_BUILDING)
        waited = time.perf_counter() - started
        index = base.index(base.read())
        assert index is not None, "no index: is its package installed, and are there enough facts?"
        held = base.read()
        ways = {
            "base": bare,
            "index": indexed,
            "exact": model.with_options().attach(store, exact=True),
        }
        facts = samples(store, base, arguments.questions)
        return {
            "num_facts": len(held),
            "bytes_per_fact": (held.keys.nbytes + held.values.nbytes + held.vectors.rows.nbytes
                               + held.vectors.fact_ids.nbytes + index.nbytes) / len(held),
            "index_bytes_per_fact": index.nbytes / len(held),
            "seconds_waited_for_index": waited,
            "ways": rounds(ways, arguments.repeats, arguments.new_tokens),
            "index": recall(indexed, facts),
            "change": changing(indexed, facts[: arguments.repeats]),
        }  # fmt: skip


def _apart(work: str, arguments: Sequence[str]) -> dict[str, Any]:
    """Run one part in a process of its own."""
    command = [sys.executable, __file__, *arguments, "--apart", work]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found


def _report(result: dict[str, Any]) -> str:
    answers = result["answering"]
    found = answers["index"][f"recall_at_{_WANTED}"]
    later = 1000 * answers["change"]["seconds_beyond_embedding"]
    lines = [f"{answers['num_facts']:,} facts, {answers['bytes_per_fact']:,.0f} bytes a fact"]
    for name, way in answers["ways"].items():
        first, each = 1000 * way["seconds_to_first_token"], 1000 * way["seconds_per_new_token"]
        lines.append(
            f"  {name:<7}{first:7.0f} ms to the first token ({way['first_token_ratio']:.2f} x "
            f"base), {each:.1f} ms per new token ({way['new_token_ratio']:.2f} x base)"
        )
    lines.append(f"  the index finds {found:.4f} of the exact best {_WANTED}")
    lines.append(f"  one fact changed: {later:.0f} ms beyond its embedding")
    for name in ("opening", "opening_exact"):
        own, files = (result[name].get(k, 0) / 2**20 for k in ("RssAnon", "RssFile"))
        lines.append(
            f"  {name}: first answer after {result[name]['seconds_to_first_answer']:.1f} s, gained "
            f"{own:.0f} MiB own + {files:.0f} MiB of files"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description="A store of very many facts.")
    parser.add_argument("store", type=Path, help="an encoded store")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures to this file")
    parser.add_argument("--repeats", type=int, default=15, help="rounds that count")
    parser.add_argument("--new-tokens", type=int, default=9, help="length of the timed answers")
    parser.add_argument("--questions", type=int, default=200, help="to measure the index with")
    parser.add_argument("--adapter", default="default")
    parser.add_argument("--apart", help=argparse.SUPPRESS)
    parsed = parser.parse_args()
    if parsed.apart is not None:
        works = {
            "answering": lambda: answering(parsed.store, parsed.adapter, parsed),
            "opening": lambda: opening(parsed.store, parsed.adapter, exact=False),
            "opening_exact": lambda: opening(parsed.store, parsed.adapter, exact=True),
        }
        print(json.dumps(works[parsed.apart]()))
        return
    # The first run builds the index and leaves it beside the store.
    parts = ("answering", "opening", "opening_exact")
    result: dict[str, Any] = {part: _apart(part, sys.argv[1:]) for part in parts}
    print(_report(result), flush=True)
    if parsed.json is not None:
        figures = {"versions": versions(), "threads": torch.get_num_threads(), **result}
        parsed.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
