"""``kblam evaluate``: kblam and its rivals on the same facts, questions and model."""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from kblam.cli._console import results
from kblam.cli._models import AdapterOption, BaseModelOption, DeviceOption, EncoderOption

__all__ = ["evaluate"]

METRICS = (
    "recall_at_1",
    "recall_at_5",
    "exact_match",
    "contains",
    "token_f1",
    "refusal_precision",
    "refusal_recall",
    "seconds_per_question",
    "time_to_first_token",
    "peak_memory_mb",
)


_PANEL = "Method"


class Method(str, Enum):
    """What answers the questions."""

    kblam = "kblam"
    in_context = "in-context"
    rag = "rag"
    bm25 = "bm25"
    base = "base"


class Grounding(str, Enum):
    """Whether values are copied."""

    copy = "copy"
    off = "off"


def evaluate(
    facts: Annotated[
        Path, typer.Option(help='JSONL of {"entity", "property", "value"}.', show_default=False)
    ],
    questions: Annotated[
        Path,
        typer.Option(
            help='JSONL of {"question", "answers"}; no answers: a refusal is right.',
            show_default=False,
        ),
    ],
    limit: Annotated[
        int | None, typer.Option(min=1, help="Ask this many questions.", show_default="all")
    ] = None,
    num_facts: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Keep the facts asked for and fill up with others to this many.",
            show_default="all",
        ),
    ] = None,
    method: Annotated[Method, typer.Option(help="What answers the questions.")] = Method.kblam,
    output: Annotated[
        Path | None,
        typer.Option(
            "--json",
            metavar="OUT",
            help="Write the result to this file; '-' prints it.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the choice of questions and facts.")] = 0,
    resume: Annotated[
        Path | None,
        typer.Option(
            help="JSONL of questions answered so far, continued if it exists.", show_default=False
        ),
    ] = None,
    batch_size: Annotated[
        int,
        typer.Option(min=1, help="Questions generated together; above 1, the first 20 are timed."),
    ] = 1,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="The longest reply.")] = 64,
    top_k: Annotated[
        int,
        typer.Option(
            min=1, help="Facts that rag and bm25 paste into the prompt.", rich_help_panel=_PANEL
        ),
    ] = 1,
    wording: Annotated[
        str | None,
        typer.Option(
            help="Name of the prompt of the methods that paste facts.",
            rich_help_panel=_PANEL,
            show_default="the one that measured best",
        ),
    ] = None,
    grounding: Annotated[
        Grounding,
        typer.Option(
            help="Whether kblam copies values from the facts it reads.", rich_help_panel=_PANEL
        ),
    ] = Grounding.copy,
    base_model: BaseModelOption = None,
    adapter: AdapterOption = "default",
    encoder: EncoderOption = None,
    device: DeviceOption = None,
) -> None:
    """Measure answers, citations, refusals, time and memory."""
    from kblam.evaluation import EvaluationConfig, RetrievalConfig
    from kblam.evaluation import evaluate as run

    config = EvaluationConfig(
        facts=facts,
        questions=questions,
        method=method.value,
        num_facts=num_facts,
        limit=limit,
        seed=seed,
        resume=resume,
        batch_size=batch_size,
        max_new_tokens=max_new_tokens,
        retrieval=RetrievalConfig(top_k=top_k),
        wording=wording,
        grounding=grounding.value,
        base_model=base_model,
        adapter=adapter,
        encoder=encoder,
        device=device,
    )
    outcome = run(config).to_dict()
    text = json.dumps(outcome, indent=2)
    if output is None or str(output) != "-":
        _print_table(outcome)
    else:
        results.print_json(text)
    if output is not None and str(output) != "-":
        output.write_text(text + "\n", encoding="utf-8")


def _print_table(outcome: dict[str, Any]) -> None:
    table = Table(
        title=f"{outcome['method']}: {outcome['num_questions']:,} questions, "
        f"{outcome['num_facts']:,} facts",
        title_justify="left",
    )
    table.add_column("Measure")
    table.add_column("Value", justify="right")
    for name in METRICS:
        value = outcome[name]
        table.add_row(name.replace("_", " "), "-" if value is None else f"{value:,.3f}")
    results.print(table)
