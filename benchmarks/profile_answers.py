"""Where the time to the first token goes: the parts of an answer, in milliseconds.

    python benchmarks/profile_answers.py --num-facts 1000 100000 --json OUT
    python benchmarks/profile_answers.py --store STORE.db --exact

Facts are made up and have random vectors, as in ``latency.py``, unless a real store is given. Each
question is another one, so that it is embedded anew. Parts are measured by a clock around them and
some lie within others, as the indentation tells.
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attention_cost import QUESTION, RandomFactVectors, letters, made_up_facts

import kblam._answering
import kblam._generate
import kblam._knowledge_base
import kblam._request
import kblam._selected_facts
import kblam.decoder.grounding
import kblam.decoder.interface
import kblam.decoder.refusal
import kblam.decoder.session
from kblam.config import GenerationOptions
from kblam.knowledge import KnowledgeStore
from kblam.model import KBLaM
from kblam.weights import DEFAULT_ENCODER

_FIRST = GenerationOptions(max_new_tokens=1)
_Session = kblam.decoder.session.FactSession
_PARTS: dict[str, tuple[Any, str]] = {
    "store read": (kblam._knowledge_base.KnowledgeBase, "seen_by"),
    "tokenize": (kblam._request, "tokenize"),
    "embed the question": (kblam._generate.Generation, "_embed_together"),
    "attention of all layers": (kblam.decoder.interface, "_attention_forward"),
    "  selection": (_Session, "select"),
    "    best facts by vectors": (_Session, "_best"),
    "    words of question and facts": (kblam._selected_facts.SelectedFacts, "evidence"),
    "  knowledge tokens": (_Session, "tokens"),
    "  bias": (_Session, "bias"),
    "  prompt and facts": (kblam.decoder.interface, "joint_attention"),
    "copying": (kblam.decoder.grounding.CopyProcessor, "__call__"),
    "refusal": (kblam.decoder.refusal.RefusalProcessor, "__call__"),
}


@contextmanager
def clocked(spent: dict[str, float]) -> Iterator[None]:
    """Add up the seconds of each part inside the ``with`` block."""

    def around(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            started = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                spent[name] += time.perf_counter() - started

        return timed

    before = {name: getattr(owner, part) for name, (owner, part) in _PARTS.items()}
    for name, (owner, part) in _PARTS.items():
        setattr(owner, part, around(name, before[name]))
    try:
        yield
    finally:
        for name, (owner, part) in _PARTS.items():
            setattr(owner, part, before[name])


def profile(model: KBLaM, bare: KBLaM, repeats: int, mark: str) -> dict[str, float]:
    """Medians of the parts of an answer, in milliseconds."""
    rows: list[dict[str, float]] = []
    for turn in range(repeats + 1):
        spent: dict[str, float] = defaultdict(float)
        started = time.perf_counter()
        bare.ask(f"{QUESTION} ({mark}, {letters(turn)}, bare)", _FIRST)
        between = time.perf_counter()
        with clocked(spent):
            model.ask(f"{QUESTION} ({mark}, {letters(turn)}, with facts)", _FIRST)
        total = time.perf_counter() - between
        rows.append({"base without facts": between - started, "with facts": total, **spent})
    names = ("base without facts", "with facts", *_PARTS)
    return {
        name: 1000 * statistics.median(row.get(name, 0.0) for row in rows[1:]) for name in names
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description="Where the time to the first token goes.")
    parser.add_argument("--num-facts", type=int, nargs="*", default=[1_000])
    parser.add_argument("--store", type=Path, help="a real store beside them")
    parser.add_argument("--exact", action="store_true", help="scan it, without an index")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--adapter", default="default")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures to this file")
    parsed = parser.parse_args(arguments)
    encoder = RandomFactVectors(DEFAULT_ENCODER)
    model = KBLaM.from_pretrained(
        adapter=parsed.adapter, encoder=encoder, refusal_threshold=1.0
    )  # fmt: skip
    bare = KBLaM.from_pretrained(adapter=None)
    results: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for count in parsed.num_facts:
            with KnowledgeStore(Path(folder) / f"{count}.db") as store:
                store.add(made_up_facts(count))
                store.encode(encoder, batch_size=4096)
                attached = model.with_options().attach(store)
                results[f"{count:,}"] = profile(attached, bare, parsed.repeats, letters(count))
    if parsed.store is not None:
        with KnowledgeStore(parsed.store) as store:
            attached = model.with_options().attach(store, exact=parsed.exact)
            attached.ask(QUESTION, _FIRST)
            base = attached._attached[0]
            assert base is not None
            base.wait_for_index()
            name = f"{len(store):,} {'exact' if parsed.exact else 'indexed'}"
            results[name] = profile(attached, bare, parsed.repeats, letters(len(store)))
    width = max(map(len, results))
    print(f"{'ms':<34}" + "".join(f"{name:>{width + 2}}" for name in results))
    for part in next(iter(results.values())):
        print(f"{part:<34}" + "".join(f"{r[part]:>{width + 2}.1f}" for r in results.values()))
    if parsed.json is not None:
        parsed.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
