"""Run an evaluation from the files to the figures."""

from __future__ import annotations

import time
from collections.abc import Sequence

from kblam._questions import load_facts, load_questions
from kblam.evaluation._loading import load_model
from kblam.evaluation._memory import peak_memory_mb, reset_peak_memory
from kblam.evaluation._progress import bar
from kblam.evaluation.answering import Method, Reply
from kblam.evaluation.config import EvaluationConfig
from kblam.evaluation.methods import build_method
from kblam.evaluation.record_file import RecordFile
from kblam.evaluation.records import RANKED, QuestionRecord, score
from kblam.evaluation.result import EvaluationResult, provenance, summarise
from kblam.evaluation.tasks import Task, build_task
from kblam.knowledge import Triple
from kblam.model import KBLaM

__all__ = ["evaluate", "load_task"]

# Answered before the clock starts, so that no question pays for the first call of a kernel. It
# is none of the task's, since encoders remember the texts they have seen.
_WARM_UP = "What is asked first takes longer, does it not?"


def evaluate(
    config: EvaluationConfig,
    *,
    model: KBLaM | None = None,
    progress: bool = True,
    label: str | None = None,
) -> EvaluationResult:
    """Ask a method the questions of a task and measure its replies.

    Args:
        config: The files, the method and its settings.
        model: A model that is loaded already; None loads the one that the settings name. Its
            weights are used; a store that is attached to it is neither read nor touched.
        progress: Whether to show a progress bar on standard error.
        label: What the bar is called; None is the method's name.

    Returns:
        The figures, and the questions one by one.

    Raises:
        ConfigError: A file or a setting cannot be used.
        FactError: A line of the facts is not a fact.
        WeightsNotFoundError: The base model or the encoder cannot be found.
        AdapterError: The adapter cannot be loaded.
        MissingExtraError: `bm25` without its library.
        PromptTooLongError: A question is longer than the model's context.
        SourceError: A file cannot be read, or is not UTF-8.
    """
    task, informed = load_task(config), config.method == "kblam"
    file = RecordFile(config.resume, config.for_replies(), QuestionRecord.from_dict)
    model = (model or load_model(config, informed=informed)).with_options().detach()
    if informed:
        file.expect(adapter_fingerprint=model.adapter_fingerprint)
    method = build_method(model, task, config)
    method.check_questions()
    reset_peak_memory(model.base.device)
    started = time.perf_counter()
    try:
        method.prepare()
        prepared = time.perf_counter() - started
        with file:
            _ask_all(method, file, label or method.name, progress=progress)
        return summarise(
            [file.records[question.index] for question in task.questions],
            config,
            num_facts=len(task.facts),
            peak_memory_mb=peak_memory_mb(model.base.device),
            adapter=model.adapter_name if config.method == "kblam" else None,
            encoder=model.encoder.name if config.method in ("kblam", "rag") else None,
            preparation_seconds=prepared,
            notes=task.notes + method.notes(),
            **provenance(model),
        )
    finally:
        method.close()


def load_task(config: EvaluationConfig) -> Task:
    """Read the files that the settings name, and choose the questions and facts.

    Raises:
        ConfigError: A file cannot be used.
        FactError: A line of the facts is not a fact.
        SourceError: A file cannot be read, or is not UTF-8.
    """
    return build_task(
        load_facts(config.facts),
        load_questions(config.questions),
        num_facts=config.num_facts,
        limit=config.limit,
        seed=config.seed,
    )


def _ask_all(
    method: Method, file: RecordFile[QuestionRecord], label: str, *, progress: bool
) -> None:
    config, task = method.config, method.task
    timed = len(task.questions) if config.batch_size == 1 else config.timed_questions
    todo = [i for i, q in enumerate(task.questions) if not file.has(q.index, q.asked)]
    if todo:
        method.answer(_WARM_UP)
    alone = [[i] for i in todo if i < timed]
    rest = [i for i in todo if i >= timed]
    batches = [rest[i : i + config.batch_size] for i in range(0, len(rest), config.batch_size)]
    with bar(label, len(task.questions), len(todo), show=progress) as advance:
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
