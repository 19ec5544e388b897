"""``kblam evaluate``: kblam and its rivals on the same facts, questions and model."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from kblam.cli._evaluation import check_output, report, run_suite
from kblam.cli._models import AdapterOption, BaseModelOption, DeviceOption, EncoderOption
from kblam.errors import ConfigError

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
PRESERVATION_METRICS = (
    "kl_per_token",
    "kl_per_token_answered",
    "kl_per_token_p95",
    "refused",
    "identical",
    "common_prefix",
    "likelihood_lost",
)

_Options = dict[str, Any]
_SHARED = (
    "facts",
    "limit",
    "seed",
    "base_model",
    "adapter",
    "encoder",
    "device",
    "batch_size",
    "max_new_tokens",
)
# What only makes sense for one measurement, for a suite, and where questions are asked.
_SINGLE = ("num_facts", "method", "output", "resume")
_SEVERAL = ("sizes", "methods")
_ASKING = ("questions", "method", "top_k", "wording", "context_tokens")
_FLAGS = {"output": "--json"}
_METHOD_PANEL = "Method"
_SUITE_PANEL = "Suite"


class Method(str, Enum):
    """What answers the questions."""

    kblam = "kblam"
    in_context = "in-context"
    cached_prefix = "cached-prefix"
    rag = "rag"
    bm25 = "bm25"
    base = "base"


class Grounding(str, Enum):
    """Whether values are copied."""

    copy = "copy"
    off = "off"


class Task(str, Enum):
    """What is measured."""

    questions = "questions"
    preservation = "preservation"


FactsOption = Annotated[
    Path, typer.Option(help='JSONL of {"entity", "property", "value"}.', show_default=False)
]
QuestionsOption = Annotated[
    Path | None,
    typer.Option(
        help='JSONL of {"question", "answers"}; no answers: a refusal is right.',
        show_default=False,
    ),
]
TaskOption = Annotated[
    Task | None,
    typer.Option(
        help="questions: are they answered? preservation: do attached facts leave replies to "
        "general prompts as they were?",
        show_default="questions; both in a suite",
    ),
]
LimitOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Ask this many, drawn by the seed; answerable and unanswerable ones keep their "
        "shares.",
        show_default="all",
    ),
]
NumFactsOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Keep the facts asked for and fill up with others to this many.",
        show_default="all; 1000 for preservation",
    ),
]
MethodOption = Annotated[
    Method | None, typer.Option(help="What answers the questions.", show_default="kblam")
]
OutputOption = Annotated[
    Path | None,
    typer.Option(
        "--json",
        metavar="OUT",
        help="Write the result to this file; '-' prints it.",
        show_default=False,
    ),
]
SeedOption = Annotated[int, typer.Option(help="Of the choice of questions and facts.")]
ResumeOption = Annotated[
    Path | None,
    typer.Option(
        help="JSONL of what was asked so far, continued if it exists.", show_default=False
    ),
]
BatchSizeOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Generated together; above 1, the first 20 questions are timed.",
        show_default="1; 8 for preservation",
    ),
]
MaxNewTokensOption = Annotated[
    int | None,
    typer.Option(min=1, help="The longest reply.", show_default="64; 48 for preservation"),
]
TopKOption = Annotated[
    list[int] | None,
    typer.Option(
        min=1,
        help="Facts that rag and bm25 paste into the prompt; a suite takes several.",
        rich_help_panel=_METHOD_PANEL,
        show_default="1; 1, 5 and 20 in a suite",
    ),
]
WordingOption = Annotated[
    str | None,
    typer.Option(
        help="Name of the prompt of the methods that paste facts.",
        rich_help_panel=_METHOD_PANEL,
        show_default="the one that measured best",
    ),
]
ContextTokensOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="The longest prompt of in-context and cached-prefix: as many facts as it holds.",
        rich_help_panel=_METHOD_PANEL,
        show_default="the model's window",
    ),
]
GroundingOption = Annotated[
    Grounding,
    typer.Option(
        help="Whether kblam copies values from the facts it reads.",
        rich_help_panel=_METHOD_PANEL,
    ),
]
SuiteOption = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Run all methods at all sizes, and write results and plots to this folder; "
        "a run that was cut goes on.",
        rich_help_panel=_SUITE_PANEL,
        show_default=False,
    ),
]
SizesOption = Annotated[
    str | None,
    typer.Option(
        help="Numbers of facts in a suite.",
        rich_help_panel=_SUITE_PANEL,
        show_default="100,1000,all",
    ),
]
MethodsOption = Annotated[
    str | None,
    typer.Option(
        help="Methods in a suite, with commas between them.",
        rich_help_panel=_SUITE_PANEL,
        show_default="all",
    ),
]


def evaluate(
    facts: FactsOption,
    questions: QuestionsOption = None,
    task: TaskOption = None,
    limit: LimitOption = None,
    num_facts: NumFactsOption = None,
    method: MethodOption = None,
    output: OutputOption = None,
    seed: SeedOption = 0,
    resume: ResumeOption = None,
    batch_size: BatchSizeOption = None,
    max_new_tokens: MaxNewTokensOption = None,
    top_k: TopKOption = None,
    wording: WordingOption = None,
    context_tokens: ContextTokensOption = None,
    grounding: GroundingOption = Grounding.copy,
    suite: SuiteOption = None,
    sizes: SizesOption = None,
    methods: MethodsOption = None,
    base_model: BaseModelOption = None,
    adapter: AdapterOption = "default",
    encoder: EncoderOption = None,
    device: DeviceOption = None,
) -> None:
    """Measure answers, citations, refusals, time and memory."""
    given: _Options = dict(locals())
    if suite is not None:
        _reject("--suite", given, _SINGLE)
        if task is Task.preservation:
            raise ConfigError("Expected --suite without --task preservation: a suite has both.")
        settings = _settings(given, "wording", "context_tokens")
        if task is not None:
            settings["preservation_prompts"] = 0
        run_suite(suite, _needed(questions), sizes, methods, top_k, settings)
    elif task is Task.preservation:
        _reject("--task preservation", given, _ASKING + _SEVERAL)
        _run_preservation(_settings(given, "num_facts") | {"resume": resume}, output)
    else:
        _reject("one evaluation; they belong to --suite", given, _SEVERAL)
        settings = _settings(given, "num_facts", "wording", "context_tokens") | {"resume": resume}
        name = (method or Method.kblam).value
        _run_questions(_needed(questions), name, top_k or [1], settings, output)


def _settings(given: _Options, *more: str) -> dict[str, Any]:
    """The settings that all measurements have; what was not given keeps its own default."""
    names = (*_SHARED, *more)
    settings = {name: given[name] for name in names if given[name] is not None}
    return settings | {"grounding": given["grounding"].value}


def _reject(what: str, given: _Options, names: Sequence[str]) -> None:
    flags = [
        _FLAGS.get(name, f"--{name.replace('_', '-')}") for name in names if given[name] is not None
    ]
    if flags:
        raise ConfigError(f"Expected no {', '.join(flags)} with {what}.")


def _needed(questions: Path | None) -> Path:
    if questions is None:
        raise ConfigError(
            "Expected a file of questions, got none. Give --questions, or --task preservation, "
            "which needs none."
        )
    return questions


def _run_questions(
    questions: Path, method: str, top_k: list[int], settings: dict[str, Any], output: Path | None
) -> None:
    from kblam.evaluation import EvaluationConfig, RetrievalConfig
    from kblam.evaluation import evaluate as run

    if len(top_k) > 1:
        raise ConfigError(f"Expected one --top-k without --suite, got {top_k}.")
    known: Any = method
    retrieval = RetrievalConfig(top_k=top_k[0])
    config = EvaluationConfig(questions=questions, method=known, retrieval=retrieval, **settings)
    check_output(output)
    outcome = run(config).to_dict()
    title = f"{method}: {outcome['num_questions']:,} questions, {outcome['num_facts']:,} facts"
    report(outcome, title, METRICS, output)


def _run_preservation(settings: dict[str, Any], output: Path | None) -> None:
    from kblam.evaluation import PreservationConfig, evaluate_preservation

    config = PreservationConfig(**settings)
    check_output(output)
    outcome = evaluate_preservation(config).to_dict()
    title = f"preservation: {outcome['num_prompts']:,} prompts, {outcome['num_facts']:,} facts"
    report(outcome, title, PRESERVATION_METRICS, output)
