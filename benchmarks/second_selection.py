"""Would facts selected a second time, inside an answer, help?

Selection runs once per prompt and keeps a few facts. That is enough where all facts that are asked
for are among them, and too little where the second one can be looked for only once the first is
known ("What is the capital of the country of ...?").

    python benchmarks/second_selection.py --facts FACTS.jsonl

Counted is how often every fact asked for is selected: of held-back synthetic questions for a
property with several values, two and three properties; and of questions over two facts, made of
the file's facts, the second fact by the question alone, by the question followed by what the first
fact says (what a second selection would read), and by a question of its own.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from random import Random

from several import KINDS
from tqdm import tqdm

from kblam import KBLaM, KnowledgeStore
from kblam._questions import load_facts
from kblam.knowledge import Triple
from kblam.training.data import generate_questions, generate_world


def share_found(model: KBLaM, asked: Iterable[tuple[str, Sequence[Triple]]], label: str) -> float:
    """The share of questions of which every fact is selected."""
    found = []
    for question, gold in tqdm(list(asked), desc=label, leave=False):
        selected = {
            (s.fact.entity, s.fact.property, s.fact.value) for s in model.select(question, 99)
        }
        found.append(all((g.entity, g.property, g.value) in selected for g in gold))
    return sum(found) / len(found)


def several(adapter: str, num_facts: int, limit: int, seed: int) -> dict[str, float]:
    """Questions for several facts at once."""
    world = generate_world(num_facts, seed, split="validation")
    shares = {}
    with KnowledgeStore.from_source(world.facts) as store:
        model = KBLaM.from_pretrained(adapter=adapter).attach(store)
        for kind in KINDS:
            made = generate_questions(world, 4 * limit, seed, shares={kind: 1.0})
            asked = [
                (question.question, [world.facts[index] for index in question.gold])
                for question in made
                if not question.history
            ]
            shares[kind] = share_found(model, asked[:limit], kind)
    return shares


def two_hops(model: KBLaM, facts: Sequence[Triple], limit: int, seed: int) -> dict[str, float]:
    """Questions for a fact of what another fact names."""
    by_entity = defaultdict(list)
    for fact in facts:
        by_entity[fact.entity].append(fact)
    chains = [
        (first, second)
        for first in facts
        for second in by_entity[first.value]
        if second.value != first.entity
    ]
    drawn = Random(seed).sample(chains, min(limit, len(chains)))
    questions = [
        f"What is the {second.property} of the {first.property} of {first.entity}?"
        for first, second in drawn
    ]
    ways = {
        "the first fact": [(q, [first]) for q, (first, _) in zip(questions, drawn, strict=True)],
        "the second, at once": [
            (q, [second]) for q, (_, second) in zip(questions, drawn, strict=True)
        ],
        "the second, once the first is told": [
            (f"{q} {first.statement}", [second])
            for q, (first, second) in zip(questions, drawn, strict=True)
        ],
        "the second, asked for by itself": [
            (f"What is the {second.property} of {first.value}?", [second])
            for first, second in drawn
        ],
    }
    return {way: share_found(model, asked, way) for way, asked in ways.items()}


def main() -> None:
    """Read the arguments, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--facts", type=Path, required=True)
    parser.add_argument("--num-facts", type=int, default=10_000, help="of the synthetic store")
    parser.add_argument("--limit", type=int, default=100, help="questions of each sort")
    parser.add_argument("--adapter", default="default")
    parser.add_argument("--seed", type=int, default=4_711)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = several(options.adapter, options.num_facts, options.limit, options.seed)
    facts = load_facts(options.facts)
    with KnowledgeStore.from_source(facts) as store:
        model = KBLaM.from_pretrained(adapter=options.adapter).attach(store)
        rows |= two_hops(model, facts, options.limit, options.seed)
    for name, share in rows.items():
        print(f"{name:<40}{share:.3f}")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
