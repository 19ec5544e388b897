r"""Write held-back synthetic facts and questions in the form that ``kblam evaluate`` reads.

The facts are of the validation split: entities that no training world has, some of relations that
none has. With ``--values numbers`` only questions for numbers and dates are written, to see whether
figures come out as they stand:

    python benchmarks/held_back.py held_back/ --values numbers
    kblam evaluate --facts held_back/facts.jsonl --questions held_back/questions.jsonl \
        --num-facts 1000 --limit 300
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from kblam.training.data import TrainingQuestion, World, generate_questions, generate_world

# The types of values that are numbers, with or without a unit, and dates.
_NUMBERS = frozenset(
    {"int", "intsep", "dec", "date", "year", "time", "month", "monthday", "large", "code"}
)


def rows(world: World, questions: list[TrainingQuestion], values: str) -> list[dict[str, Any]]:
    """The questions for one value, and those that no fact answers."""
    found = []
    for question in questions:
        if question.history or question.system or question.kind not in ("single", "unanswerable"):
            continue
        if question.gold and values == "numbers":
            relation = world.relations[question.gold[0]]
            if relation.value_type not in _NUMBERS:
                continue
        gold = [world.facts[index] for index in question.gold]
        row: dict[str, Any] = {"question": question.question, "answers": [f.value for f in gold]}
        if gold:
            row |= {"entity": gold[0].entity, "property": gold[0].property}
        found.append(row)
    return found


def main() -> None:
    """Read the arguments and write both files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--num-facts", type=int, default=10_000)
    parser.add_argument("--num-questions", type=int, default=6_000)
    parser.add_argument("--values", choices=["all", "numbers"], default="all")
    parser.add_argument("--seed", type=int, default=4_711)
    options = parser.parse_args()
    world = generate_world(options.num_facts, options.seed, split="validation")
    questions = generate_questions(world, options.num_questions, options.seed)
    options.output.mkdir(parents=True, exist_ok=True)
    files = {
        "facts": [fact.to_dict() for fact in world.facts],
        "questions": rows(world, list(questions), options.values),
    }
    for name, content in files.items():
        with (options.output / f"{name}.jsonl").open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in content)
        print(f"{options.output / name}.jsonl: {len(content)} lines")


if __name__ == "__main__":
    main()
