"""From which likeness on a tool fits a question, for an encoder, and how often that is wrong.

    python benchmarks/fitting_tools.py --encoder all-MiniLM-L6-v2

The questions beside it (`fitting_tools.jsonl`) each name the tool that fits among those offered,
or none. Some sets of tools are held back: they had no part in choosing the default's threshold.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from kblam.encoding import SentenceEncoder
from kblam_integrations._fitting import ToolFit

_QUESTIONS = Path(__file__).with_suffix(".jsonl")
_THRESHOLDS = [hundredth / 100 for hundredth in range(10, 61)]


class Judged(NamedTuple):
    """A question: the tool that fits, the nearest one, and how like the question that is."""

    fits: str | None
    nearest: str
    likeness: float


def judged(fit: ToolFit, row: dict[str, Any]) -> Iterator[Judged]:
    """The questions over one set of tools."""
    tools = [
        {"type": "function", "function": {"name": name, "description": description}}
        for name, description in row["tools"].items()
    ]
    for name, questions in [*row["fits"].items(), (None, row["none"])]:
        for question in questions:
            likeness = fit.likeness(question, tools)
            nearest = int(likeness.argmax())
            yield Judged(name, list(row["tools"])[nearest], float(likeness[nearest]))


def wrong(questions: list[Judged], threshold: float) -> tuple[int, int, int]:
    """How many call a tool though none fits, none though one does, and another one."""
    called = sum(q.fits is None and q.likeness >= threshold for q in questions)
    missed = sum(q.fits is not None and q.likeness < threshold for q in questions)
    other = sum(q.fits not in (None, q.nearest) and q.likeness >= threshold for q in questions)
    return called, missed, other


def main() -> None:
    """Tell the threshold that is least often wrong, and what it gets wrong."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--encoder", default="all-MiniLM-L6-v2")
    parser.add_argument("--threshold", type=float, help="instead of the one that is best")
    given = parser.parse_args()
    encoder = SentenceEncoder(given.encoder)
    fit = ToolFit(lambda: encoder)
    asked: dict[bool, list[Judged]] = {False: [], True: []}
    for line in _QUESTIONS.read_text("utf-8").splitlines():
        row = json.loads(line)
        asked[row["held_back"]].extend(judged(fit, row))
    if given.threshold is None:
        least = min(sum(wrong(asked[False], at)) for at in _THRESHOLDS)
        best = [at for at in _THRESHOLDS if sum(wrong(asked[False], at)) == least]
        threshold = best[len(best) // 2]
    else:
        threshold = given.threshold
    print(f"threshold {threshold:.2f}")
    for held_back, questions in asked.items():
        called, missed, other = wrong(questions, threshold)
        none = sum(q.fits is None for q in questions)
        print(
            f"{'held back' if held_back else 'chosen on'}: {len(questions)} questions, {none} of "
            f"which no tool fits; {called} of them call one, {missed} others call none, "
            f"{other} call another"
        )


if __name__ == "__main__":
    main()
