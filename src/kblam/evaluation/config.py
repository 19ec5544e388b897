"""What an evaluation runs: the files, the method and its settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from kblam._questions import file_content
from kblam.errors import ConfigError
from kblam.evaluation.prompts import WORDINGS

__all__ = [
    "METHODS",
    "AskingConfig",
    "EvaluationConfig",
    "MethodName",
    "PreservationConfig",
    "RetrievalConfig",
    "RetrievalText",
    "RunConfig",
]

MethodName = Literal["kblam", "base", "rag", "in-context", "cached-prefix", "bm25"]
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
class RunConfig:
    """What every measurement is told: the facts, the model, and how much of it to run.

    Attributes:
        facts: JSONL file of ``{"entity", "property", "value"}``, optionally ``"id"`` and
            ``"metadata"``.
        limit: Ask so many, a seeded sample; None asks all.
        seed: Of the draws and of the resampled intervals.
        base_model: Name or folder of the decoder, the same for every method.
        adapter: Name or folder of the knowledge adapter.
        encoder: Sentence encoder; None is the adapter's own.
        device: Where to compute; None lets the library choose.
        grounding: Whether values are copied from the facts that are read.
        bootstrap: Resamples for the confidence intervals; 0 leaves them out.
    """

    facts: Path
    limit: int | None = None
    seed: int = 0
    base_model: str | None = None
    adapter: str = "default"
    encoder: str | None = None
    device: str | None = None
    grounding: Literal["copy", "off"] = "copy"
    bootstrap: int = 1000

    # Settings that replies do not depend on.
    _not_for_replies: ClassVar[frozenset[str]] = frozenset({"bootstrap", "batch_size", "device"})

    def __post_init__(self) -> None:
        _as_paths(self, ("facts",))
        _require_positive(self, ("limit",), optional=True)
        _require(self.bootstrap >= 0, f"Expected bootstrap >= 0, got {self.bootstrap}.")

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON-able values."""
        values = dataclasses.asdict(self)
        return {name: str(v) if isinstance(v, Path) else v for name, v in values.items()}

    def for_replies(self) -> dict[str, Any]:
        """The settings that replies depend on: replies of others must not be mixed with them.

        The file of facts is told by what it holds, as it may be written anew under its name.

        Raises:
            ConfigError: There is no file of facts.
        """
        values = {n: v for n, v in self.to_dict().items() if n not in self._not_for_replies}
        return values | {"facts": file_content(self.facts, "facts")}

    def shared(self, kind: type[RunConfig]) -> dict[str, Any]:
        """The fields that all configurations of a kind have, to make another one of that kind."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(kind)}


@dataclass(frozen=True, kw_only=True)
class AskingConfig(RunConfig):
    """What every measurement that asks a file of questions is told, besides.

    Attributes:
        questions: JSONL file of ``{"question", "answers"}``, optionally ``"entity"`` and
            ``"property"``; an empty list of answers means that a refusal is right.
        max_new_tokens: The longest reply.
        batch_size: Questions generated together. Above 1, only the first `timed_questions` are
            asked one at a time, and only those are timed.
        wording: Name of the prompt of the methods that paste facts, one of
            ``kblam.evaluation.WORDINGS``; None is the one that measured best for each.
        context_tokens: The longest prompt of `in-context` and `cached-prefix`; None is the model's
            window.
    """

    questions: Path
    max_new_tokens: int = 64
    batch_size: int = 1
    wording: str | None = None
    context_tokens: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _as_paths(self, ("questions",))
        _require_positive(self, ("context_tokens",), optional=True)
        _require_positive(self, ("max_new_tokens", "batch_size"))
        _require(
            self.wording is None or self.wording in WORDINGS,
            f"Expected a wording among {', '.join(sorted(WORDINGS))}, got {self.wording!r}.",
        )


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig(AskingConfig):
    """One evaluation: one method on one set of facts and questions.

    The fields of :class:`RunConfig` and :class:`AskingConfig` come first. A limited sample of
    questions keeps the shares of answerable and unanswerable ones, since files often list one
    after the other.

    Attributes:
        method: ``kblam`` reads the facts by attention; ``base`` has none; ``rag`` and ``bm25``
            retrieve some into the prompt; ``in-context`` pastes as many as the window holds;
            ``cached-prefix`` does so too, and reads them once for all questions.
        num_facts: Keep the gold facts of the asked questions and fill up with others to so many;
            None keeps all.
        timed_questions: See `batch_size`.
        retrieval: Settings of `rag` and `bm25`.
        resume: A JSONL file of answered questions: those in it are not asked again.
    """

    method: MethodName = "kblam"
    num_facts: int | None = None
    timed_questions: int = 20
    retrieval: RetrievalConfig = field(default_factory=RetrievalConfig)
    resume: Path | None = None

    _not_for_replies = RunConfig._not_for_replies | {"resume", "timed_questions"}

    def __post_init__(self) -> None:
        _require(
            self.method in METHODS,
            f"Expected a method among {', '.join(METHODS)}, got {self.method!r}.",
        )
        super().__post_init__()
        _as_paths(self, ("resume",))
        _require_positive(self, ("num_facts",), optional=True)
        _require_positive(self, ("timed_questions",))


@dataclass(frozen=True, kw_only=True)
class PreservationConfig(RunConfig):
    """One measurement of how far attached facts change replies that are not about them.

    The fields of :class:`RunConfig` come first; `limit` is of the prompts.

    Attributes:
        prompts: JSONL file of ``{"kind", "messages"}``; None takes the 200 general prompts that
            kblam ships.
        num_facts: Attach a seeded sample of so many; None attaches all.
        max_new_tokens: How much of the base's own reply is compared.
        batch_size: Prompts generated together.
        resume: A JSONL file of compared prompts: those in it are not compared again.
    """

    prompts: Path | None = None
    num_facts: int | None = 1000
    max_new_tokens: int = 48
    batch_size: int = 8
    resume: Path | None = None

    _not_for_replies = RunConfig._not_for_replies | {"resume"}

    def __post_init__(self) -> None:
        super().__post_init__()
        _as_paths(self, ("prompts", "resume"))
        _require_positive(self, ("num_facts",), optional=True)
        _require_positive(self, ("max_new_tokens", "batch_size"))


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
