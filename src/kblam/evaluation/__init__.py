"""Measure what a model makes of facts, beside the other ways of giving it facts."""

from __future__ import annotations

from kblam.evaluation.config import (
    METHODS,
    EvaluationConfig,
    MethodName,
    RetrievalConfig,
    RetrievalText,
)
from kblam.evaluation.prompts import WORDINGS
from kblam.evaluation.records import QuestionRecord
from kblam.evaluation.result import EvaluationResult
from kblam.evaluation.runner import evaluate
from kblam.evaluation.tasks import Question, Task, build_task, load_facts, load_questions

__all__ = [
    "METHODS",
    "WORDINGS",
    "EvaluationConfig",
    "EvaluationResult",
    "MethodName",
    "Question",
    "QuestionRecord",
    "RetrievalConfig",
    "RetrievalText",
    "Task",
    "build_task",
    "evaluate",
    "load_facts",
    "load_questions",
]
