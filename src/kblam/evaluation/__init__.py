"""Measure what a model makes of facts, beside the other ways of giving it facts."""

from __future__ import annotations

from kblam._questions import Question, load_facts, load_questions
from kblam.evaluation.attention import AttentionRecord, evaluate_attention
from kblam.evaluation.config import (
    METHODS,
    AskingConfig,
    EvaluationConfig,
    MethodName,
    PreservationConfig,
    RetrievalConfig,
    RetrievalText,
    RunConfig,
)
from kblam.evaluation.preservation import evaluate_preservation, load_prompts
from kblam.evaluation.preservation_result import (
    GeneralPrompt,
    PreservationRecord,
    PreservationResult,
)
from kblam.evaluation.prompts import WORDINGS
from kblam.evaluation.records import QuestionRecord
from kblam.evaluation.result import EvaluationResult
from kblam.evaluation.runner import evaluate
from kblam.evaluation.suite import run_suite
from kblam.evaluation.suite_plan import SuiteConfig
from kblam.evaluation.tasks import Task, build_task

__all__ = [
    "METHODS",
    "WORDINGS",
    "AskingConfig",
    "AttentionRecord",
    "EvaluationConfig",
    "EvaluationResult",
    "GeneralPrompt",
    "MethodName",
    "PreservationConfig",
    "PreservationRecord",
    "PreservationResult",
    "Question",
    "QuestionRecord",
    "RetrievalConfig",
    "RetrievalText",
    "RunConfig",
    "SuiteConfig",
    "Task",
    "build_task",
    "evaluate",
    "evaluate_attention",
    "evaluate_preservation",
    "load_facts",
    "load_prompts",
    "load_questions",
    "run_suite",
]
