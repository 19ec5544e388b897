"""From the questions' records to the figures that are reported."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from kblam.evaluation._figures import Figures
from kblam.evaluation.bootstrap import Parts, ratios
from kblam.evaluation.config import EvaluationConfig
from kblam.evaluation.metrics import recall_at
from kblam.evaluation.records import QuestionRecord
from kblam.model import KBLaM

__all__ = ["EvaluationResult", "provenance", "summarise", "versions"]

_PACKAGES = ("kblam", "torch", "transformers", "sentence-transformers", "bm25s")
_Measure = Callable[[QuestionRecord], float]


@dataclass(frozen=True, kw_only=True)
class EvaluationResult(Figures):
    """The figures of one method.

    Shares are from 0 to 1. The replies' measures (`exact_match`, `contains`, `token_f1`,
    `value_once`) are means over the answerable questions, recall over those with a gold fact.
    None stands for what cannot be said: recall of a method that ranks no facts, refusals where
    no question is unanswerable, and so on. Where unanswerable questions were asked and no reply
    refuses, precision is 0.

    Attributes:
        method: The method.
        num_facts: Facts in the knowledge base.
        num_questions: Questions asked.
        recall_at_1: Share of questions whose gold fact is ranked first.
        recall_at_5: Share of questions whose gold fact is among the first five.
        exact_match: The whole reply is an answer, normalised as in SQuAD.
        contains: An answer occurs in the reply.
        token_f1: Overlap of the reply with the answer.
        refusal_precision: Share of the refusals that were right.
        refusal_recall: Share of the unanswerable questions that were refused.
        seconds_per_question: Mean time to the end of the reply, of questions asked one at a time.
        time_to_first_token: Mean time to the first token, likewise.
        peak_memory_mb: Peak memory in MiB: of the GPU, else of the process.
        model: The base model.
        adapter: The knowledge adapter; None for the baselines.
        versions: Of Python and the packages.
        encoder: The sentence encoder; None where none is used.
        value_once: An answer stands in the reply once, letter by letter.
        num_answerable: Answerable questions.
        num_unanswerable: Unanswerable questions.
        num_refused: Replies that refuse.
        preparation_seconds: What is done once: embedding and indexing the facts.
        input_tokens: Mean length of the prompt.
        output_tokens: Mean length of the reply.
        intervals: Bootstrap intervals (95 %) of the shares.
        latency: Median and 95th percentile of the timed questions, in seconds.
        device: Where it ran.
        threads: Threads of the CPU.
        settings: The settings.
        notes: What a reader of the figures should know.
        records: The questions one by one; not part of `to_dict`.
    """

    method: str
    num_facts: int
    num_questions: int
    recall_at_1: float | None
    recall_at_5: float | None
    exact_match: float | None
    contains: float | None
    token_f1: float | None
    refusal_precision: float | None
    refusal_recall: float | None
    seconds_per_question: float | None
    time_to_first_token: float | None
    peak_memory_mb: float | None
    model: str
    adapter: str | None
    versions: dict[str, str]
    encoder: str | None
    value_once: float | None
    num_answerable: int
    num_unanswerable: int
    num_refused: int
    preparation_seconds: float
    input_tokens: float
    output_tokens: float
    intervals: dict[str, tuple[float, float]]
    latency: dict[str, float]
    device: str
    threads: int
    settings: dict[str, Any]
    notes: tuple[str, ...] = ()
    records: tuple[QuestionRecord, ...] = field(default=(), repr=False)


def summarise(
    records: Sequence[QuestionRecord], config: EvaluationConfig, **facts: Any
) -> EvaluationResult:
    """Average the records.

    Args:
        records: One for every question asked.
        config: The settings.
        facts: The fields of the result that do not follow from the records.
    """
    shares, intervals = ratios(_shares(records), resamples=config.bootstrap, seed=config.seed)
    values: dict[str, Any] = dict(shares)
    if values["refusal_precision"] is None and values["refusal_recall"] is not None:
        values["refusal_precision"] = 0.0
    seconds = [r.seconds for r in records if r.seconds is not None]
    first = [r.time_to_first_token for r in records if r.time_to_first_token is not None]
    return EvaluationResult(
        method=config.method,
        num_questions=len(records),
        **values,
        seconds_per_question=_mean(seconds),
        time_to_first_token=_mean(first),
        num_answerable=sum(r.answerable for r in records),
        num_unanswerable=sum(not r.answerable for r in records),
        num_refused=sum(r.refused for r in records),
        input_tokens=float(np.mean([r.input_tokens for r in records])),
        output_tokens=float(np.mean([r.output_tokens for r in records])),
        intervals=intervals,
        latency=_latency("seconds", seconds) | _latency("first_token", first),
        settings=config.to_dict(),
        records=tuple(records),
        **facts,
    )


def _shares(records: Sequence[QuestionRecord]) -> dict[str, Parts]:
    """Each share as numerators and denominators, one of each per question."""

    def over(counts: _Measure, measure: _Measure) -> Parts:
        bottom = [float(counts(r)) for r in records]
        return [b * measure(r) for b, r in zip(bottom, records, strict=True)], bottom

    def answerable(measure: _Measure) -> Parts:
        return over(lambda r: r.answerable, measure)

    return {
        "recall_at_1": over(lambda r: r.ranked, lambda r: recall_at(r.rank, 1)),
        "recall_at_5": over(lambda r: r.ranked, lambda r: recall_at(r.rank, 5)),
        "exact_match": answerable(lambda r: r.exact_match),
        "contains": answerable(lambda r: r.contains),
        "token_f1": answerable(lambda r: r.token_f1),
        "value_once": answerable(lambda r: r.value_once),
        "refusal_precision": over(lambda r: r.refused, lambda r: not r.answerable),
        "refusal_recall": over(lambda r: not r.answerable, lambda r: r.refused),
    }


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _latency(name: str, values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {}
    median, high = np.quantile(values, (0.5, 0.95))
    return {f"{name}_p50": float(median), f"{name}_p95": float(high)}


def provenance(model: KBLaM) -> dict[str, Any]:
    """The fields of a result that tell what the figures were taken with."""
    return {
        "model": model.model_name,
        "versions": versions(),
        "device": str(model.base.device),
        "threads": torch.get_num_threads(),
    }


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that the figures depend on."""
    found = {name: _version(name) for name in _PACKAGES}
    return {"python": platform.python_version()} | {n: v for n, v in found.items() if v}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
