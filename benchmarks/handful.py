"""Replies over stores of a handful of facts, as in anybody's first try.

    python benchmarks/handful.py --facts F.jsonl --questions Q.jsonl --entities 1 4 30

For each question a store of its own is made: all facts of the entity asked about, and of so many
other entities. Counted is what evaluation counts, and how many replies are put as training taught
it: "The <property> of <entity> is <value>." or, of a verb, "<entity> <verb> <value>."
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from random import Random

from tqdm import tqdm

from kblam import KBLaM, KnowledgeStore
from kblam._questions import load_facts, load_questions
from kblam.evaluation.metrics import contains, value_once
from kblam.knowledge import Triple


def main() -> None:
    """Read the arguments, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--facts", type=Path, required=True)
    parser.add_argument("--questions", type=Path, required=True)
    parser.add_argument("--entities", type=int, nargs="+", default=[1, 4, 30])
    parser.add_argument("--limit", type=int, default=60, help="questions")
    parser.add_argument("--adapter", default="default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", type=int, default=0, help="replies put otherwise, of each size")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    model = KBLaM.from_pretrained(adapter=options.adapter)
    by_entity = defaultdict(list)
    for fact in load_facts(options.facts):
        by_entity[fact.entity].append(fact)
    answerable = [q for q in load_questions(options.questions) if q.answerable and q.entity]
    rng = Random(options.seed)
    asked = rng.sample(answerable, min(options.limit, len(answerable)))
    names = sorted(by_entity)
    rows = {}
    for size in options.entities:
        counts = dict.fromkeys(("contains", "value once", "as taught", "refused"), 0)
        otherwise = []
        for question in tqdm(asked, desc=f"{size} entities", leave=False):
            others = [name for name in rng.sample(names, size) if name != question.entity]
            chosen = [question.entity, *others[: size - 1]]
            facts = [fact for name in chosen for fact in by_entity[name]]
            with KnowledgeStore.from_source(facts) as store:
                answer = model.with_options().attach(store).ask(question.text)
            lead = Triple(question.entity, question.property, "-").lead
            taught = answer.text.startswith(lead)
            counts["contains"] += contains(answer.text, question.answers)
            counts["value once"] += value_once(answer.text, question.answers)
            counts["as taught"] += taught
            counts["refused"] += answer.refused
            if not taught:
                otherwise.append((question.text, answer.text))
        rows[size] = {**counts, "of": len(asked)}
        shares = ", ".join(f"{name} {count / len(asked):.3f}" for name, count in counts.items())
        print(f"{size} entities: {shares}", flush=True)
        for text, reply in otherwise[: options.show]:
            print(f"    {text}\n        {reply}")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
