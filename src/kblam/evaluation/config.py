"""What an evaluation runs: the files, the method and its settings."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from kblam.errors import ConfigError
from kblam.evaluation.prompts import WORDINGS

__all__ = ["METHODS", "EvaluationConfig", "MethodName", "RetrievalConfig", "RetrievalText"]

MethodName = Literal["kblam", "base", "rag", "in-context", "bm25"]
METHODS: tuple[str, ...] = get_args(MethodName)
RetrievalText = Literal["key", "statement", "plain"]


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)


@dataclass(frozen=True, kw_only=True)
class RetrievalConfig:
    """How `rag` and `bm25` find facts.

    Attributes:
        top_k: How many facts are pasted into the prompt.
        text: The text of a fact that is embedded or indexed: ``"key"`` ("the father of X"; it
            measured best), ``"statement"`` ("The father of X is Y.") or ``"plain"``
            ("X father Y").
    """

    top_k: int = 1
    text: RetrievalText = "key"

    def __post_init__(self) -> None:
        _require(self.top_k >= 1, f"Expected top_k >= 1, got {self.top_k}.")
        _require(
            self.text in get_args(RetrievalText),
            f"Expected text to be one of {get_args(RetrievalText)}, got {self.text!r}.",
        )


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """One evaluation: one method on one set of facts and questions.

    Attributes:
        facts: JSONL file of ``{"entity", "property", "value"}``, optionally ``"id"`` and
            ``"metadata"``.
        questions: JSONL file of ``{"question", "answers"}``, optionally ``"entity"`` and
            ``"property"``; an empty list of answers means that a refusal is right.
        method: ``kblam`` reads the facts by attention; ``base`` has none; ``rag`` and ``bm25``
            retrieve some into the prompt; ``in-context`` pastes as many as the window holds.
        num_facts: Keep the gold facts of the asked questions and fill up with others to so many;
            None keeps all.
        limit: Ask so many questions; None asks all. They are a seeded sample in which answerable
            and unanswerable questions keep their shares, since files often list one after the
            other.
        seed: Draws the questions and the facts, orders the facts, resamples the intervals.
        base_model: Name or folder of the decoder, the same for every method.
        adapter: Name or folder of the knowledge adapter; only `kblam` uses it.
        encoder: Sentence encoder; None is the adapter's own. `rag` uses the same one.
        device: Where to compute; None lets the library choose.
        grounding: Whether `kblam` copies values from the facts it reads.
        max_new_tokens: The longest reply.
        batch_size: Questions generated together. Above 1, only the first `timed_questions` are
            asked one at a time, and only those are timed.
        timed_questions: See `batch_size`.
        retrieval: Settings of `rag` and `bm25`.
        wording: Name of the prompt of the methods that paste facts, one of
            ``kblam.evaluation.WORDINGS``; None is the one that measured best for each.
        context_tokens: The longest prompt of `in-context`; None is the model's window.
        bootstrap: Resamples for the confidence intervals; 0 leaves them out.
        resume: A JSONL file of answered questions: those in it are not asked again.
    """

    facts: Path
    questions: Path
    method: MethodName = "kblam"
    num_facts: int | None = None
    limit: int | None = None
    seed: int = 0
    base_model: str | None = None
    adapter: str = "default"
    encoder: str | None = None
    device: str | None = None
    grounding: Literal["copy", "off"] = "copy"
    max_new_tokens: int = 64
    batch_size: int = 1
    timed_questions: int = 20
    retrieval: RetrievalConfig = field(default_factory=RetrievalConfig)
    wording: str | None = None
    context_tokens: int | None = None
    bootstrap: int = 1000
    resume: Path | None = None

    def __post_init__(self) -> None:
        for name in ("facts", "questions", "resume"):
            path = getattr(self, name)
            object.__setattr__(self, name, None if path is None else Path(path))
        _require(
            self.method in METHODS,
            f"Expected a method among {', '.join(METHODS)}, got {self.method!r}.",
        )
        for name in ("num_facts", "limit", "context_tokens"):
            value = getattr(self, name)
            _require(value is None or value >= 1, f"Expected {name} >= 1 or None, got {value}.")
        for name in ("max_new_tokens", "batch_size", "timed_questions"):
            value = getattr(self, name)
            _require(value >= 1, f"Expected {name} >= 1, got {value}.")
        _require(self.bootstrap >= 0, f"Expected bootstrap >= 0, got {self.bootstrap}.")
        _require(
            self.wording is None or self.wording in WORDINGS,
            f"Expected a wording among {', '.join(sorted(WORDINGS))}, got {self.wording!r}.",
        )

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON-able values."""
        values = dataclasses.asdict(self)
        for name in ("facts", "questions", "resume"):
            values[name] = None if values[name] is None else str(values[name])
        return values
