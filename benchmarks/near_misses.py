"""Refusals where the store knows who is asked about, but not what.

Half of the figures of a task's unanswerable questions are easy: nothing is known of whom they ask
about. Here each store holds whole entities, and three sorts of questions are asked: those that it
answers, those of which it has the entity with other properties only, and those of whom it has
nothing.

    python benchmarks/near_misses.py --facts F.jsonl --questions Q.jsonl --entities 1 10 100 1000

Each entity of these facts has one fact or two: one entity is a store of a fact or two.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from random import Random

from tqdm import tqdm

from kblam import KBLaM, KnowledgeStore
from kblam._questions import Question, load_facts, load_questions
from kblam.config import GenerationOptions
from kblam.knowledge import Triple

SORTS = ("answerable", "near miss", "unknown")
_BRIEF = GenerationOptions(max_new_tokens=1)


class Drawer:
    """Draws stores of whole entities and questions about them.

    Args:
        facts: All facts.
        questions: All questions.
        seed: Of the draws.
    """

    def __init__(self, facts: Sequence[Triple], questions: Sequence[Question], seed: int) -> None:
        self.by_entity: dict[str, list[Triple]] = defaultdict(list)
        for fact in facts:
            self.by_entity[fact.entity].append(fact)
        self._questions = [question for question in questions if question.entity]
        self._near = [q for q in self._questions if not q.answerable and q.entity in self.by_entity]
        self._rng = Random(seed)

    def draw(self, size: int, count: int) -> tuple[list[Triple], dict[str, list[Question]]]:
        """The facts of so many entities, and at most so many questions of each sort."""
        rng = self._rng
        near = rng.sample(self._near, min(count, size, len(self._near)))
        wanted = dict.fromkeys(q.entity for q in near if q.entity)
        others = [entity for entity in self.by_entity if entity not in wanted]
        room = max(0, min(size, len(self.by_entity)) - len(wanted))
        entities = {*wanted, *rng.sample(others, room)}
        about = [q for q in self._questions if q.answerable and q.entity in entities]
        elsewhere = [q for q in self._questions if q.entity not in entities]
        facts = [fact for entity in sorted(entities) for fact in self.by_entity[entity]]
        asked = (
            rng.sample(about, min(count, len(about))),
            near,
            rng.sample(elsewhere, min(count, len(elsewhere))),
        )
        return facts, dict(zip(SORTS, asked, strict=True))


def measure(model: KBLaM, drawer: Drawer, size: int, count: int) -> dict[str, list[bool]]:
    """Which questions of each sort are refused, over as many stores as it takes."""
    refused: dict[str, list[bool]] = {sort: [] for sort in SORTS}
    with tqdm(total=count, desc=f"{size} entities", leave=False) as bar:
        while len(refused["near miss"]) < count:
            facts, asked = drawer.draw(size, min(count, max(1, size // 2)))
            with KnowledgeStore.from_source(facts) as store:
                answers = model.with_options().attach(store)
                for sort, questions in asked.items():
                    texts = [question.text for question in questions]
                    found = answers.ask_batch(texts, _BRIEF) if texts else []
                    refused[sort] += [answer.refused for answer in found]
            bar.update(len(asked["near miss"]))
    return refused


def main() -> None:
    """Read the arguments, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--facts", type=Path, required=True)
    parser.add_argument("--questions", type=Path, required=True)
    parser.add_argument("--entities", type=int, nargs="+", default=[1, 10, 100, 1_000])
    parser.add_argument("--count", type=int, default=100, help="questions of each sort, about")
    parser.add_argument("--threshold", type=float, help="the default is the adapter's own")
    parser.add_argument("--adapter", default="default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    model = KBLaM.from_pretrained(adapter=options.adapter)
    if options.threshold is not None:
        model = model.with_options(refusal_threshold=options.threshold)
    drawer = Drawer(load_facts(options.facts), load_questions(options.questions), options.seed)
    rows = {}
    print(f"{'refused':>10}" + "".join(f"{sort:>22}" for sort in SORTS))
    for size in options.entities:
        found = measure(model, drawer, size, options.count)
        rows[size] = {
            sort: {"refused": sum(answers), "of": len(answers)} for sort, answers in found.items()
        }
        shares = (
            f"{row['refused'] / row['of']:.3f} of {row['of']:,}" for row in rows[size].values()
        )
        print(f"{size:>10,}" + "".join(f"{share:>22}" for share in shares), flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
