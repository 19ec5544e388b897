"""What an evaluation runs: the files, the method and its settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from kblam.errors import ConfigError
from kblam.evaluation.prompts import WORDINGS

__all__ = [
    "METHODS",
    "EvaluationConfig",
    "MethodName",
    "PreservationConfig",
    "RetrievalConfig",
    "RetrievalText",
]

MethodName = Literal["kblam", "base", "rag", "in-context", "cached-prefix", "bm25"]
METHODS: tuple[str, ...] = get_args(MethodName)
RetrievalText = Literal["key", "statement", "plain"]

_NOT_FOR_REPLIES = frozenset({"resume", "bootstrap", "timed_questions", "batch_size", "device"})


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
            retrieve some into the prompt; ``in-context`` pastes as many as the window holds;
            ``cached-prefix`` does so too, and reads them once for all questions.
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
        context_tokens: The longest prompt of `in-context` and `cached-prefix`; None is the model's
            window.
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
        _as_paths(self, ("facts", "questions", "resume"))
        _require(
            self.method in METHODS,
            f"Expected a method among {', '.join(METHODS)}, got {self.method!r}.",
        )
        _require_positive(self, ("num_facts", "limit", "context_tokens"), optional=True)
        _require_positive(self, ("max_new_tokens", "batch_size", "timed_questions"))
        _require(self.bootstrap >= 0, f"Expected bootstrap >= 0, got {self.bootstrap}.")
        _require(
            self.wording is None or self.wording in WORDINGS,
            f"Expected a wording among {', '.join(sorted(WORDINGS))}, got {self.wording!r}.",
        )

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON-able values."""
        return _jsonable(self)

    def for_replies(self) -> dict[str, Any]:
        """The settings that replies depend on: replies of others must not be mixed with them."""
        return {name: v for name, v in self.to_dict().items() if name not in _NOT_FOR_REPLIES}


@dataclass(frozen=True, kw_only=True)
class PreservationConfig:
    """One measurement of how far attached facts change replies that are not about them.

    Attributes:
        facts: JSONL file of facts, as of :class:`EvaluationConfig`.
        prompts: JSONL file of ``{"kind", "messages"}``; None takes the 200 general prompts that
            kblam ships.
        num_facts: Attach a seeded sample of so many; None attaches all.
        limit: Ask a seeded sample of so many prompts; None asks all.
        seed: Draws the facts and the prompts, resamples the intervals.
        base_model: Name or folder of the decoder.
        adapter: Name or folder of the knowledge adapter.
        encoder: Sentence encoder; None is the adapter's own.
        device: Where to compute; None lets the library choose.
        grounding: Whether values are copied from the facts.
        max_new_tokens: How much of the base's own reply is compared.
        batch_size: Prompts generated together.
        bootstrap: Resamples for the confidence intervals; 0 leaves them out.
        resume: A JSONL file of compared prompts: those in it are not compared again.
    """

    facts: Path
    prompts: Path | None = None
    num_facts: int | None = 1000
    limit: int | None = None
    seed: int = 0
    base_model: str | None = None
    adapter: str = "default"
    encoder: str | None = None
    device: str | None = None
    grounding: Literal["copy", "off"] = "copy"
    max_new_tokens: int = 48
    batch_size: int = 8
    bootstrap: int = 1000
    resume: Path | None = None

    def __post_init__(self) -> None:
        _as_paths(self, ("facts", "prompts", "resume"))
        _require_positive(self, ("num_facts", "limit"), optional=True)
        _require_positive(self, ("max_new_tokens", "batch_size"))
        _require(self.bootstrap >= 0, f"Expected bootstrap >= 0, got {self.bootstrap}.")

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON-able values."""
        return _jsonable(self)

    def for_replies(self) -> dict[str, Any]:
        """The settings that replies depend on: replies of others must not be mixed with them."""
        return {name: v for name, v in self.to_dict().items() if name not in _NOT_FOR_REPLIES}


def _as_paths(config: Any, names: Sequence[str]) -> None:
    for name in names:
        path = getattr(config, name)
        object.__setattr__(config, name, None if path is None else Path(path))


def _require_positive(config: Any, names: Sequence[str], *, optional: bool = False) -> None:
    for name in names:
        value = getattr(config, name)
        if optional:
            _require(value is None or value >= 1, f"Expected {name} >= 1 or None, got {value}.")
        else:
            _require(value >= 1, f"Expected {name} >= 1, got {value}.")


def _jsonable(config: Any) -> dict[str, Any]:
    values = dataclasses.asdict(config)
    return {name: str(v) if isinstance(v, Path) else v for name, v in values.items()}
