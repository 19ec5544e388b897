"""The figures of ``kblam evaluate`` over several draws of questions and facts.

A hundred questions are few: one refused by mistake moves the precision of refusals by some five
points. Each seed draws its own questions and the facts around them; their records are pooled. A
question that several seeds draw is asked of different facts and counts each time.

    python benchmarks/pooled.py --facts F.jsonl --questions Q.jsonl --num-facts 100 --limit 95 \
        --seeds 0 1 2 3 4
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from kblam import KBLaM
from kblam.evaluation import EvaluationConfig, QuestionRecord, evaluate
from kblam.evaluation.result import provenance, summarise

FIGURES = (
    "recall_at_1", "contains", "value_once", "refusal_precision", "refusal_recall",
)  # fmt: skip


def main() -> None:
    """Read the arguments, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--facts", type=Path, required=True)
    parser.add_argument("--questions", type=Path, required=True)
    parser.add_argument("--num-facts", type=int)
    parser.add_argument("--limit", type=int, help="questions of each seed")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3])
    parser.add_argument("--method", default="kblam")
    parser.add_argument("--adapter", default="default")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--show", action="store_true", help="print what was answered wrongly")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    config = EvaluationConfig(
        facts=options.facts,
        questions=options.questions,
        num_facts=options.num_facts,
        limit=options.limit,
        method=options.method,
        adapter=options.adapter,
        batch_size=options.batch_size,
        bootstrap=0,
    )
    model = KBLaM.from_pretrained(adapter=options.adapter if config.method == "kblam" else None)
    records: list[QuestionRecord] = []
    sizes = []
    for seed in options.seeds:
        result = evaluate(
            dataclasses.replace(config, seed=seed), model=model, label=f"{config.method} {seed}"
        )
        records += result.records
        sizes.append(result.num_facts)
    pooled = summarise(
        records,
        dataclasses.replace(config, bootstrap=1000),
        num_facts=sizes[0],
        adapter=model.adapter_name,
        encoder=model.encoder.name,
        preparation_seconds=0.0,
        peak_memory_mb=result.peak_memory_mb,
        **provenance(model),
    )
    print(f"{min(sizes)} to {max(sizes)} facts, {len(records)} questions, "
          f"{pooled.num_unanswerable} of them unanswerable")  # fmt: skip
    for name in FIGURES:
        value, ends = getattr(pooled, name), pooled.intervals.get(name)
        if value is not None and ends is not None:
            print(f"  {name:<20}{value:.4f} [{ends[0]:.3f}, {ends[1]:.3f}]")
    if options.show:
        for record in records:
            if record.refused if record.answerable else not record.refused:
                print(f"    {record.question}\n        {record.reply}")
            elif record.answerable and not record.contains:
                print(f"    {record.question} {list(record.answers)}\n        {record.reply}")
    if options.json is not None:
        pooled.write(options.json)


if __name__ == "__main__":
    main()
