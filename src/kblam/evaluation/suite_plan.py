"""What a suite consists of: one measurement per method, size and setting."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from kblam._questions import load_facts, load_questions
from kblam.errors import ConfigError
from kblam.evaluation.config import (
    METHODS,
    AskingConfig,
    EvaluationConfig,
    MethodName,
    PreservationConfig,
    RetrievalConfig,
    RunConfig,
)

__all__ = ["Cell", "SuiteConfig", "plan_suite"]

_RETRIEVING = ("rag", "bm25")


@dataclass(frozen=True, kw_only=True)
class SuiteConfig(AskingConfig):
    """Everything that is to be measured, and the folder it goes to.

    The fields of :class:`~kblam.evaluation.config.RunConfig` and
    :class:`~kblam.evaluation.config.AskingConfig` come first. At a size of M facts no more than
    M questions are asked, so that their gold facts are among them.

    Attributes:
        output: The folder; one that holds a part of the same suite is continued.
        sizes: Numbers of facts; None stands for all. Those larger than the file are left out.
        methods: What answers; `base`, which reads no facts, is asked once.
        top_k: `rag` and `bm25` are run with each of these.
        preservation_facts: Attach so many facts to measure what they do to general prompts.
        preservation_prompts: So many of those prompts; None takes all, 0 leaves them out.
        attention_questions: Trace the attention of so many questions; 0 leaves it out.
    """

    output: Path
    sizes: tuple[int | None, ...] = (100, 1000, None)
    methods: tuple[str, ...] = METHODS
    top_k: tuple[int, ...] = (1, 5, 20)
    preservation_facts: int = 1000
    preservation_prompts: int | None = None
    attention_questions: int = 100

    # What is measured, each in a cell of its own.
    _not_for_replies = RunConfig._not_for_replies | {"output", "sizes", "methods", "top_k"}

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "output", Path(self.output))
        unknown = [method for method in self.methods if method not in METHODS]
        if unknown or not self.methods:
            raise ConfigError(
                f"Expected methods among {', '.join(METHODS)}, got {', '.join(unknown) or 'none'}."
            )
        if not self.sizes or any(size is not None and size < 1 for size in self.sizes):
            raise ConfigError(f"Expected sizes >= 1 or None, got {self.sizes}.")
        if not self.top_k or min(self.top_k) < 1:
            raise ConfigError(f"Expected top_k of 1 or more, got {self.top_k}.")


@dataclass(frozen=True)
class Cell:
    """One measurement.

    Attributes:
        name: Of its files.
        label: Of its row or curve.
        config: Its settings.
        traced: Questions whose attention is traced, where that is what it measures.
    """

    name: str
    label: str
    config: EvaluationConfig | PreservationConfig
    traced: int = 0

    @property
    def informed(self) -> bool:
        """Whether it needs the adapter."""
        return isinstance(self.config, PreservationConfig) or self.config.method == "kblam"


def plan_suite(config: SuiteConfig) -> list[Cell]:
    """The measurements, those that need the adapter first, so that it is loaded once.

    Raises:
        ConfigError: The facts or the questions cannot be read.
    """
    num_facts, num_questions = len(load_facts(config.facts)), len(load_questions(config.questions))
    asked_for = [None if size == num_facts else size for size in config.sizes]
    sizes = [s for s in dict.fromkeys(asked_for) if s is None or s < num_facts] or [None]
    cells: list[Cell] = []
    for size in sizes if "kblam" in config.methods else ():
        cells.append(_cell(config, "kblam", size, num_questions))
        if config.attention_questions:
            cells.append(_cell(config, "kblam", size, num_questions, traced=True))
    if config.preservation_prompts != 0:
        cells.append(_preservation_cell(config))
    if "base" in config.methods:
        cells.append(_cell(config, "base", None, num_questions))
    for method in config.methods:
        if method in ("kblam", "base"):
            continue
        cells += [
            _cell(config, method, size, num_questions, top_k=top_k)
            for size in sizes
            for top_k in (config.top_k if method in _RETRIEVING else (None,))
        ]
    return cells


def _cell(
    config: SuiteConfig,
    method: str,
    size: int | None,
    num_questions: int,
    *,
    top_k: int | None = None,
    traced: bool = False,
) -> Cell:
    parts = ["attention" if traced else method]
    parts += [f"top{top_k}"] if top_k else []
    parts += [] if method == "base" else ["all" if size is None else str(size)]
    name = "-".join(parts)
    limit = config.limit
    if size is not None and size < (limit or num_questions):
        limit = size
    known: dict[str, MethodName] = {known: known for known in get_args(MethodName)}
    settings = EvaluationConfig(
        **(config.shared(AskingConfig) | {"limit": limit}),
        method=known[method],
        num_facts=size,
        retrieval=RetrievalConfig(top_k=top_k or 1),
        resume=config.output / "cells" / f"{name}.jsonl",
    )
    label = f"{method} top {top_k}" if top_k else method
    return Cell(name, label, settings, config.attention_questions if traced else 0)


def _preservation_cell(config: SuiteConfig) -> Cell:
    settings = PreservationConfig(
        **(config.shared(RunConfig) | {"limit": config.preservation_prompts}),
        num_facts=config.preservation_facts,
        resume=config.output / "cells" / "preservation.jsonl",
    )
    return Cell("preservation", "preservation", settings)
