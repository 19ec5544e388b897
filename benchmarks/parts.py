"""What each part gives: copying, refusing, and who makes the selection query.

    python benchmarks/parts.py --facts F.jsonl --questions Q.jsonl --num-facts 1000 --json OUT

Asks one adapter the same questions with all of its parts, and then again with one of them switched
off: values are not copied; nothing is refused by the refusal estimate; the selection query is the
encoder's alone, or the decoder's alone. Nothing is trained anew, so this says what a part does in
this adapter, not what an adapter trained without it would do.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from kblam.errors import ConfigError
from kblam.evaluation import EvaluationConfig, EvaluationResult, evaluate
from kblam.evaluation._loading import load_model
from kblam.evaluation.report import share, table
from kblam.model import KBLaM
from kblam.weights import DEFAULT_BASE

Sources = Literal["both", "encoder", "decoder"]
_COLUMNS = {
    "contains": "contains",
    "value_once": "value once",
    "refusal_precision": "refusal precision",
    "refusal_recall": "refusal recall",
    "recall_at_1": "recall@1",
}


@dataclasses.dataclass(frozen=True)
class Variant:
    """The adapter as it is, or with something switched off.

    Attributes:
        name: Of its row.
        file: Of its replies, without ending.
        options: For :meth:`KBLaM.with_options`.
        sources: What makes the selection query; None is as trained.
    """

    name: str
    file: str
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    sources: Sources | None = None


VARIANTS = (
    Variant("all parts", "all"),
    Variant("no copying", "no-copying", {"grounding": "off"}),
    # No probability is above 1.
    Variant("no refusing", "no-refusing", {"refusal_threshold": 1.0}),
    Variant("selection: encoder only", "encoder-only", sources="encoder"),
    Variant("selection: decoder only", "decoder-only", sources="decoder"),
)


@contextmanager
def selecting_by(model: KBLaM, sources: Sources | None) -> Iterator[None]:
    """Let the selection query come from certain sources inside the ``with`` block.

    Raises:
        ConfigError: The adapter selects no facts.
    """
    decoder = model._engine.decoder
    head = None if decoder is None else decoder.adapter.selection
    if head is None:
        raise ConfigError("Expected an adapter that selects facts, got one that does not.")
    before = head.sources
    head.sources = sources or before
    try:
        yield
    finally:
        head.sources = before


def measure(model: KBLaM, config: EvaluationConfig, folder: Path | None) -> list[dict[str, Any]]:
    """Ask the same questions of each variant.

    Args:
        model: With its adapter and all parts on.
        config: The files and settings.
        folder: Keeps the replies, so that a run that was cut goes on; None keeps none.

    Returns:
        A row for each variant: its name and the figures, JSON-able.
    """
    rows = []
    for number, variant in enumerate(VARIANTS, start=1):
        resume = None if folder is None else folder / f"{variant.file}.jsonl"
        options = {"grounding": config.grounding, **variant.options}
        settings = dataclasses.replace(config, resume=resume, grounding=options["grounding"])
        with selecting_by(model, variant.sources):
            result: EvaluationResult = evaluate(
                settings,
                model=model.with_options(**options),
                label=f"{number}/{len(VARIANTS)} {variant.name}",
            )
        rows.append({"part": variant.name} | result.to_dict())
    return rows


def as_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as a Markdown table, intervals in brackets."""
    head = ["", *_COLUMNS.values()]
    body = [[r["part"], *(share(r[n], r["intervals"].get(n)) for n in _COLUMNS)] for r in rows]
    return table(head, body)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--facts", type=Path, required=True)
    parser.add_argument("--questions", type=Path, required=True)
    parser.add_argument("--num-facts", type=int, help="all where not given")
    parser.add_argument("--limit", type=int, help="ask a seeded sample of the questions")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--max-new-tokens", type=int, default=64)
    parser.add_argument("--bootstrap", type=int, default=1000)
    parser.add_argument("--base-model", default=DEFAULT_BASE)
    parser.add_argument("--adapter", default="default")
    parser.add_argument("--encoder", help="the adapter's own where not given")
    parser.add_argument("--device")
    parser.add_argument("--resume", type=Path, metavar="DIR", help="keep the replies, and go on")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures to this file")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print a table and write the figures."""
    parsed = vars(parse(arguments))
    output, folder = parsed.pop("json"), parsed.pop("resume")
    config = EvaluationConfig(**parsed, timed_questions=1)
    rows = measure(load_model(config), config, folder)
    first = rows[0]
    print(f"{first['num_questions']:,} questions, {first['num_facts']:,} facts\n")
    print(as_table(rows))
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"adapter": first["adapter"], "rows": rows}, indent=2, ensure_ascii=False)
        output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
