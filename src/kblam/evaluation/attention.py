"""Which knowledge layer attends to the right fact: the paper's own measure, layer by layer."""

from __future__ import annotations

import builtins
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kblam._questions import Question, identity
from kblam.answer import Answer
from kblam.config import GenerationOptions
from kblam.evaluation._loading import load_model
from kblam.evaluation._progress import bar
from kblam.evaluation.bootstrap import ratio_interval
from kblam.evaluation.config import EvaluationConfig
from kblam.evaluation.methods import KnowledgeTokens
from kblam.evaluation.record_file import RecordFile
from kblam.evaluation.runner import load_task
from kblam.evaluation.tasks import Task
from kblam.knowledge import Triple
from kblam.model import KBLaM

__all__ = ["AttentionRecord", "evaluate_attention"]

_LISTS = ("answers", "layers", "gold", "facts", "first")


@dataclass(frozen=True)
class AttentionRecord:
    """Where the attention to the facts went at the end of one question.

    Attributes:
        index: The question's line in its file, counted from 0.
        question: The question.
        answers: Its answers.
        entity: What it is about, where its file tells.
        property: What is asked for, where its file tells.
        layers: The knowledge layers; none where the adapter selects no facts.
        gold: By layer, the gold facts' share of the attention.
        facts: By layer, all facts' share of it.
        first: By layer, whether a gold fact gets the most of all facts.
        selected: Whether selection ranks a gold fact first.
    """

    index: int
    question: str
    answers: tuple[str, ...]
    entity: str | None
    property: str | None
    layers: tuple[int, ...]
    gold: tuple[float, ...]
    facts: tuple[float, ...]
    first: tuple[bool, ...]
    selected: bool

    @builtins.property  # the field above takes the plain name
    def asked(self) -> tuple[str, tuple[str, ...], str | None, str | None]:
        """What the question's line says, which decides on the gold facts."""
        return self.question, self.answers, self.entity, self.property

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON-able values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> AttentionRecord:
        """The record that `to_dict` gave."""
        lists: dict[str, Any] = {name: tuple(values[name]) for name in _LISTS}
        return cls(**(values | lists))


def evaluate_attention(
    config: EvaluationConfig,
    *,
    num_questions: int = 100,
    model: KBLaM | None = None,
    progress: bool = True,
    label: str = "attention",
) -> dict[str, Any]:
    """Measure the attention to the gold facts by layer, at the end of answerable questions.

    Args:
        config: The files and settings; the method is `kblam`.
        num_questions: At most so many of its answerable questions.
        model: A model that is loaded already; None loads the one that the settings name.
        progress: Whether to show a progress bar on standard error.
        label: What the bar is called.

    Returns:
        `layers`, and by layer `gold_share` and `fact_share` (of the whole attention), `recall_at_1`
        (a gold fact gets the most of all facts), with `intervals`; `selected_at_1`, the share of
        the questions for which selection ranks a gold fact first; JSON-able.

    Raises:
        ConfigError: A file or a setting cannot be used.
        PromptTooLongError: A question is longer than the model's context.
        SourceError: A file cannot be read, or is not UTF-8.
    """
    task = load_task(config)
    pairs = [(q, g) for q, g in zip(task.questions, task.gold, strict=True) if g][:num_questions]
    file = RecordFile(config.resume, config.for_replies(), AttentionRecord.from_dict)
    method = KnowledgeTokens((model or load_model(config)).with_options().detach(), task, config)
    file.expect(adapter_fingerprint=method.model.adapter_fingerprint)
    method.check_questions()
    method.prepare()
    try:
        with file:
            _trace_all(method.model, pairs, file, label, progress=progress)
    finally:
        method.close()
    return _summary([file.records[q.index] for q, _ in pairs], task, config)


def _trace_all(
    model: KBLaM,
    pairs: Sequence[tuple[Question, Sequence[Triple]]],
    file: RecordFile[AttentionRecord],
    label: str,
    *,
    progress: bool,
) -> None:
    todo = [(q, gold) for q, gold in pairs if not file.has(q.index, q.asked)]
    with bar(label, len(pairs), len(todo), show=progress) as advance:
        for question, gold in todo:
            answer = model.ask(question.text, GenerationOptions(max_new_tokens=1), trace=True)
            file.add(_record(question, gold, answer))
            advance()


def _record(question: Question, gold: Sequence[Triple], answer: Answer) -> AttentionRecord:
    wanted = {identity(fact) for fact in gold}
    trace = answer.attention
    layers: tuple[int, ...] = ()
    right, weights = np.zeros(0, dtype=bool), np.zeros((0, 0))
    if trace is not None and trace.facts:
        layers = trace.layers
        right = np.array([identity(fact) in wanted for fact in trace.facts])  # (k,)
        weights = np.asarray(trace.by_layer, dtype=np.float64)  # (layers, k)
    return AttentionRecord(
        index=question.index,
        question=question.text,
        answers=question.answers,
        entity=question.entity,
        property=question.property,
        layers=layers,
        gold=tuple(float(row[right].sum()) for row in weights),
        facts=tuple(float(row.sum()) for row in weights),
        first=tuple(bool(right[row.argmax()]) for row in weights),
        selected=bool(answer.facts) and identity(answer.facts[0].fact) in wanted,
    )


def _summary(
    records: Sequence[AttentionRecord], task: Task, config: EvaluationConfig
) -> dict[str, Any]:
    traced = [record for record in records if record.layers]
    layers = traced[0].layers if traced else ()
    # Each (questions, layers)
    tables = {
        "gold_share": np.array([r.gold for r in traced]),
        "fact_share": np.array([r.facts for r in traced]),
        "recall_at_1": np.array([r.first for r in traced], dtype=float),
    }
    means = {name: table.mean(0).tolist() if traced else [] for name, table in tables.items()}
    intervals = {name: _intervals(table, config) for name, table in tables.items() if traced}
    return {
        "num_facts": len(task.facts),
        "num_questions": len(records),
        "layers": list(layers),
        **means,
        "selected_at_1": float(np.mean([r.selected for r in records])) if records else None,
        "intervals": intervals if config.bootstrap else {},
    }


def _intervals(table: npt.NDArray[np.float64], config: EvaluationConfig) -> list[list[float]]:
    """The interval of each column's mean."""
    ends = (
        ratio_interval(column, np.ones_like(column), resamples=config.bootstrap, seed=config.seed)
        for column in table.T
    )
    return [list(pair) for pair in ends if pair is not None]
