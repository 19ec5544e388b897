"""Refusal by number of facts: precision and recall of an adapter on held-back synthetic questions.

    python benchmarks/refusal_curve.py --num-facts 100 1000 10000 100000 --json OUT --plot OUT.png

The questions, general prompts and their shares are those that ``kblam train`` chooses the threshold
by; here the threshold is the adapter's own. Embedding a hundred thousand facts takes minutes;
``--cache`` keeps them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from kblam import KBLaM
from kblam.training.calibrate import calibrate
from kblam.training.corpus import build_corpus

_COLUMNS = ("precision", "recall", "f1", "general_refused")


def plot(report: dict[str, Any], path: Path) -> None:
    """Draw the curves over the number of facts."""
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(6, 4), layout="constrained")
    sizes = [int(size) for size in report["by_num_facts"]]
    for column in _COLUMNS:
        label = column.replace("_", " ")
        axis.plot(sizes, [r[column] for r in report["by_num_facts"].values()], "o-", label=label)
    axis.set(xscale="log", xlabel="facts", ylim=(0, 1.02), title="refusal, held-back questions")
    axis.grid(alpha=0.3)
    axis.legend()
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main() -> None:
    """Read the arguments, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--num-facts", type=int, nargs="+", default=[100, 1_000, 10_000, 100_000])
    parser.add_argument("--num-questions", type=int, default=400)
    parser.add_argument("--adapter", default="default")
    parser.add_argument("--cache", type=Path, default=Path("runs/refusal_curve.safetensors"))
    parser.add_argument("--seed", type=int, default=4_711)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    model = KBLaM.from_pretrained(adapter=options.adapter)
    engine = model._engine
    if engine.decoder is None:
        raise SystemExit("This needs an adapter.")
    adapter = engine.decoder.adapter
    # Calibration attaches the adapter itself.
    engine.decoder.detach()
    corpus = build_corpus(
        engine.encoder,
        num_facts=max(options.num_facts),
        num_questions=options.num_questions,
        seed=options.seed,
        cache=options.cache,
        split="validation",
    )
    calibration = calibrate(
        engine,
        adapter,
        corpus,
        seed=options.seed,
        num_questions=options.num_questions,
        sizes=options.num_facts,
    )
    report = calibration.report(adapter.config.refusal.threshold)
    print("facts      " + "".join(f"{column:>18}" for column in _COLUMNS))
    for size, row in report["by_num_facts"].items():
        print(f"{int(size):<11,}" + "".join(f"{row[column]:18.3f}" for column in _COLUMNS))
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    if options.plot:
        plot(report, options.plot)


if __name__ == "__main__":
    main()
