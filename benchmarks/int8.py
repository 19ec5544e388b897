"""What int8 vectors lose against half precision, and how much quicker they are searched.

    python benchmarks/int8.py --facts FACTS.jsonl --questions QUESTIONS.jsonl --limit 300 --json OUT

Three parts. The share of all questions for which the encoder finds the right fact first, among all
facts and among each of as many sets of ``--num-facts`` as there are. The answers of a model to some
questions over ``--num-facts`` facts, kept in either form. And the time to search random unit
vectors, both forms in turn, so that whatever else the machine does falls on both.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kblam._questions import Question, identity, load_facts, load_questions
from kblam.attention import Int8Facts, select_top_k
from kblam.config import GenerationOptions
from kblam.evaluation import EvaluationConfig
from kblam.evaluation._loading import load_model
from kblam.evaluation.metrics import contains
from kblam.evaluation.runner import load_task
from kblam.evaluation.tasks import Task
from kblam.knowledge import KnowledgeStore, TextEmbedder, Triple, VectorForm, unpacked
from kblam.knowledge._layout import Layout
from kblam.model import KBLaM

FORMS: tuple[VectorForm, ...] = ("half", "int8")
_DIMENSION = 384  # of all-MiniLM-L6-v2
_TOP_K = 16
_BATCH = 8


def found_first(
    facts: Sequence[Triple], questions: Sequence[Question], encoder: TextEmbedder, size: int
) -> dict[str, Any]:
    """Of the questions about each set of facts: for how many the encoder finds the right one."""
    wanted = [(question.entity, question.property) for question in questions]
    asked = encoder.encode([question.text for question in questions])
    sets = [facts[start : start + size] for start in range(0, len(facts), size)]
    result: dict[str, Any] = {"num_facts": size, "sets": len(sets), "asked": 0, "same": 0}
    hits = dict.fromkeys(FORMS, 0)
    for some in sets:
        names = [(fact.entity, fact.property) for fact in some]
        known = set(names)
        rows = [row for row, name in enumerate(wanted) if name in known]
        best = {form: asked[rows] @ _keys(some, encoder, form).T for form in FORMS}
        first = {form: scores.argmax(1) for form, scores in best.items()}
        for form in FORMS:
            hits[form] += sum(
                names[place] == wanted[row] for place, row in zip(first[form], rows, strict=True)
            )
        result["asked"] += len(rows)
        result["same"] += int((first["half"] == first["int8"]).sum())
    return result | {f"recall_{form}": hits[form] / result["asked"] for form in FORMS}


def _keys(facts: Sequence[Triple], encoder: TextEmbedder, form: VectorForm) -> NDArray[np.float32]:
    """The keys of some facts, in their order, as a store gives them back."""
    named = [Triple(*identity(fact), id=str(place)) for place, fact in enumerate(facts)]
    with KnowledgeStore.from_source(named, vectors=form) as store:
        store.encode(encoder)
        return unpacked(store.vectors(encoder.name).keys)


def answered(model: KBLaM, task: Task, form: VectorForm) -> list[dict[str, Any]]:
    """What a model says, and which fact it reads first."""
    replies = []
    options = GenerationOptions(max_new_tokens=64)
    with KnowledgeStore.from_source(task.facts, vectors=form) as store:
        attached = model.with_options().attach(store)
        for start in range(0, len(task.questions), _BATCH):
            some = task.questions[start : start + _BATCH]
            answers = attached.ask_batch([question.text for question in some], options)
            for row, (question, answer) in enumerate(zip(some, answers, strict=True), start):
                first = answer.facts[0].fact if answer.facts else None
                gold = {identity(fact) for fact in task.gold[row]}
                right = contains(answer.text, question.answers)
                replies.append(
                    {
                        "text": answer.text,
                        "right": right if question.answerable else answer.refused,
                        "first": first is not None and identity(first) in gold,
                    }
                )
    return replies


def compared(model: KBLaM, task: Task) -> dict[str, Any]:
    """The answers over both forms."""
    replies = {form: answered(model, task, form) for form in FORMS}
    count = len(task.questions)
    return {
        "asked": count,
        "num_facts": len(task.facts),
        "same_text": sum(
            one["text"] == other["text"] for one, other in zip(*replies.values(), strict=True)
        ),
        **{f"right_{form}": sum(reply["right"] for reply in replies[form]) for form in FORMS},
        **{f"first_{form}": sum(reply["first"] for reply in replies[form]) for form in FORMS},
    }


def searched(num_facts: int, batch: int, repeats: int) -> dict[str, Any]:
    """Seconds of one search in either form, in turn."""
    generator = np.random.default_rng(0)
    half = generator.standard_normal((num_facts, _DIMENSION), np.float32).astype(np.float16)
    half /= np.linalg.norm(half.astype(np.float32), axis=1, keepdims=True).astype(np.float16)
    rows = Layout("int8", _DIMENSION).packed(half)
    keys: dict[str, torch.Tensor | Int8Facts] = {
        "half": torch.from_numpy(half),
        # As in memory and in the file: each fact's numbers behind their factor.
        "int8": Int8Facts(torch.from_numpy(rows["codes"]), torch.from_numpy(rows["scale"])),
    }
    query = 20.0 * torch.nn.functional.normalize(torch.randn(batch, _DIMENSION), dim=1)
    times: dict[str, list[float]] = {form: [] for form in FORMS}
    for turn in range(repeats + 1):
        for form in FORMS:
            started = time.perf_counter()
            select_top_k(query, keys[form], _TOP_K)
            if turn:
                times[form].append(time.perf_counter() - started)
    ratios = [one / other for one, other in zip(times["half"], times["int8"], strict=True)]
    return {
        "num_facts": num_facts,
        "batch": batch,
        **{f"seconds_{form}": statistics.median(times[form]) for form in FORMS},
        "times_as_quick": statistics.median(ratios),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print what was found."""
    parser = argparse.ArgumentParser(description="What int8 vectors lose, and what they save.")
    parser.add_argument("--facts", type=Path, help="JSONL; without it only searches are timed")
    parser.add_argument("--questions", type=Path, help="JSONL")
    parser.add_argument("--num-facts", type=int, default=1_000)
    parser.add_argument("--limit", type=int, default=300, help="questions that a model is asked")
    parser.add_argument("--search", type=int, nargs="*", default=[100_000, 1_000_000])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures to this file")
    parsed = parser.parse_args(arguments)
    figures: dict[str, Any] = {"threads": torch.get_num_threads(), "search": []}
    for num_facts in parsed.search:
        for batch in parsed.batch:
            figures["search"].append(searched(num_facts, batch, parsed.repeats))
            print(json.dumps(figures["search"][-1]), flush=True)
    if parsed.facts is not None:
        config = EvaluationConfig(
            facts=parsed.facts,
            questions=parsed.questions,
            num_facts=parsed.num_facts,
            limit=parsed.limit,
        )
        model = load_model(config, informed=True)
        facts, questions = load_facts(parsed.facts), load_questions(parsed.questions)
        figures["encoder"] = []
        for size in (parsed.num_facts, len(facts)):
            figures["encoder"].append(found_first(facts, questions, model.encoder, size))
            print(json.dumps(figures["encoder"][-1]), flush=True)
        if parsed.limit:
            figures["answers"] = compared(model, load_task(config))
            print(json.dumps(figures["answers"]), flush=True)
    if parsed.json is not None:
        parsed.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
