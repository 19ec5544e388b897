"""Run an evaluation from the files to the figures."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from kblam.evaluation._memory import peak_memory_mb, reset_peak_memory
from kblam.evaluation.config import EvaluationConfig
from kblam.evaluation.methods import InContext, Method, Reply, build_method
from kblam.evaluation.records import RANKED, QuestionRecord, RecordFile, score
from kblam.evaluation.result import EvaluationResult, summarise, versions
from kblam.evaluation.tasks import Task, build_task, load_facts, load_questions
from kblam.knowledge import Triple
from kblam.model import KBLaM
from kblam.weights import DEFAULT_BASE

__all__ = ["evaluate", "load_model"]

# Answered before the clock starts, so that no question pays for the first call of a kernel. It
# is none of the task's, since encoders remember the texts they have seen.
_WARM_UP = "What is asked first takes longer, does it not?"
# Settings that do not change a reply.
_NOT_IN_REPLIES = frozenset({"resume", "bootstrap", "timed_questions", "batch_size", "device"})


def evaluate(
    config: EvaluationConfig, *, model: KBLaM | None = None, progress: bool = True
) -> EvaluationResult:
    """Ask a method the questions of a task and measure its replies.

    Args:
        config: The files, the method and its settings.
        model: A model that is loaded already; None loads the one that the settings name. Its
            weights are used; a store that is attached to it is neither read nor touched.
        progress: Whether to show a progress bar on standard error.

    Returns:
        The figures, and the questions one by one.

    Raises:
        ConfigError: A file or a setting cannot be used.
        FactError: A line of the facts is not a fact.
        WeightsNotFoundError: The base model or the encoder cannot be found.
        AdapterError: The adapter cannot be loaded.
        MissingExtraError: `bm25` without its library.
    """
    task = build_task(
        load_facts(config.facts),
        load_questions(config.questions),
        num_facts=config.num_facts,
        limit=config.limit,
        seed=config.seed,
    )
    settings = {k: v for k, v in config.to_dict().items() if k not in _NOT_IN_REPLIES}
    file = RecordFile(config.resume, settings)
    model = (model or load_model(config)).with_options().detach()
    method = build_method(model, task, config)
    reset_peak_memory(model.base.device)
    started = time.perf_counter()
    try:
        method.prepare()
        prepared = time.perf_counter() - started
        with file:
            _ask_all(method, file, progress=progress)
        return summarise(
            [file.records[question.index] for question in task.questions],
            config,
            num_facts=len(task.facts),
            peak_memory_mb=peak_memory_mb(model.base.device),
            model=model.model_name,
            adapter=model.adapter_name if config.method == "kblam" else None,
            encoder=model.encoder.name if config.method in ("kblam", "rag") else None,
            versions=versions(),
            preparation_seconds=prepared,
            device=str(model.base.device),
            threads=torch.get_num_threads(),
            notes=task.notes + _notes(method),
        )
    finally:
        method.close()


def load_model(config: EvaluationConfig) -> KBLaM:
    """Load the model that the settings name; the baselines get it without an adapter."""
    return KBLaM.from_pretrained(
        config.base_model or DEFAULT_BASE,
        adapter=config.adapter if config.method == "kblam" else None,
        encoder=config.encoder,
        device=config.device,
        grounding=config.grounding,
    )


def _notes(method: Method) -> tuple[str, ...]:
    if not isinstance(method, InContext):
        return ()
    return (f"{len(method.statements)} of {len(method.task.facts)} facts fit the context.",)


def _ask_all(method: Method, file: RecordFile, *, progress: bool) -> None:
    config, task = method.config, method.task
    timed = len(task.questions) if config.batch_size == 1 else config.timed_questions
    todo = [i for i, q in enumerate(task.questions) if not file.has(q)]
    if todo:
        method.answer(_WARM_UP)
    alone = [[i] for i in todo if i < timed]
    rest = [i for i in todo if i >= timed]
    batches = [rest[i : i + config.batch_size] for i in range(0, len(rest), config.batch_size)]
    with _bar(method.name, len(task.questions), len(todo), show=progress) as advance:
        for rows in alone + batches:
            # Replies first: retrieving again warms the encoder's cache for the question.
            replies = _replies(method, task, rows, timed=rows[0] < timed)
            for i, reply in zip(rows, replies, strict=True):
                file.add(_record(method, task, i, reply))
                advance()


def _replies(method: Method, task: Task, rows: Sequence[int], *, timed: bool) -> list[Reply]:
    texts = [task.questions[i].text for i in rows]
    if timed:
        return [method.answer(text) for text in texts]
    return method.answer_batch(texts)


def _record(method: Method, task: Task, i: int, reply: Reply) -> QuestionRecord:
    question, gold = task.questions[i], task.gold[i]
    ranking: Sequence[Triple] | None = reply.facts
    if gold and method.retriever is not None:
        ranking = method.retriever.search(question.text, RANKED)
    return score(question, gold, ranking, reply, method.model.refusal)


@contextmanager
def _bar(name: str, total: int, todo: int, *, show: bool) -> Iterator[Callable[[], None]]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not show) as bar:
        task = bar.add_task(name, total=total, completed=total - todo)
        yield lambda: bar.advance(task)
