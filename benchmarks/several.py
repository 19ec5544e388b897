"""Questions that several facts answer: how many of their values are told.

    python benchmarks/several.py --limit 50

The questions are synthetic and held back: for a property with several values (``list``), for two
properties (``two``), for three (``three``), of entities that no training world has.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tqdm import tqdm

from kblam import KBLaM, KnowledgeStore
from kblam.training.data import TrainingQuestion, World, generate_questions, generate_world

KINDS = ("list", "two", "three")


def measure(model: KBLaM, world: World, questions: list[TrainingQuestion]) -> dict[str, object]:
    """Ask, and count the values told; what lacks one is kept to be looked at."""
    values = told = whole = other = 0
    lacking = []
    for question in tqdm(questions, desc=questions[0].kind, leave=False):
        turns = [] if question.system is None else [("system", question.system)]
        messages = [{"role": r, "content": t} for r, t in (*turns, ("user", question.question))]
        answer = model.ask(messages)
        wanted = {world.facts[index].value for index in question.gold}
        found = {value for value in wanted if value in answer.text}
        cited = {citation.fact.value for citation in answer.citations}
        values, told = values + len(wanted), told + len(found)
        whole += found == wanted
        other += bool(cited - wanted)
        if found != wanted:
            lacking.append((question.question, sorted(wanted), answer.text))
    count = len(questions)
    return {
        "of": count,
        "values told": told / values,
        "all told": whole / count,
        "others told": other / count,
        "lacking": lacking,
    }


def main() -> None:
    """Read the arguments, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--num-facts", type=int, default=3_000)
    parser.add_argument("--limit", type=int, default=50, help="questions of each kind")
    parser.add_argument("--adapter", default="default")
    parser.add_argument("--seed", type=int, default=4_711)
    parser.add_argument("--show", type=int, default=0, help="replies that lack one, of each kind")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    world = generate_world(options.num_facts, options.seed, split="validation")
    rows = {}
    with KnowledgeStore.from_source(world.facts) as store:
        model = KBLaM.from_pretrained(adapter=options.adapter).attach(store)
        for kind in KINDS:
            made = generate_questions(world, 4 * options.limit, options.seed, shares={kind: 1.0})
            asked = [question for question in made if not question.history][: options.limit]
            rows[kind] = row = measure(model, world, asked)
            lacking = row.pop("lacking")
            shares = ", ".join(f"{name} {value:.3g}" for name, value in row.items())
            print(f"{kind}: {shares}", flush=True)
            for question, wanted, reply in lacking[: options.show]:
                print(f"    {question}\n        {wanted}\n        {reply}")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
