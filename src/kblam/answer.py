"""What a question gets back."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from kblam import _html
from kblam.knowledge import Fact

__all__ = ["Answer", "AttentionTrace", "Citation", "ScoredFact", "Usage"]


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens read and written."""

    input_tokens: int
    output_tokens: int

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input_tokens + other.input_tokens, self.output_tokens + other.output_tokens
        )


@dataclass(frozen=True, slots=True)
class ScoredFact:
    """A fact and how strongly the prompt selected it, 0 to 1."""

    fact: Fact
    score: float


@dataclass(frozen=True, slots=True)
class Citation:
    """A fact that an answer was read from.

    Attributes:
        fact: The fact.
        score: Its share of the fact attention where it was read, 0 to 1.
        start: First character of the answer that was copied from its value, or None.
        end: One past the last, or None.
    """

    fact: Fact
    score: float
    start: int | None = None
    end: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able values."""
        return {
            "id": self.fact.id,
            "entity": self.fact.entity,
            "property": self.fact.property,
            "value": self.fact.value,
            "score": self.score,
            "start": self.start,
            "end": self.end,
            "metadata": dict(self.fact.metadata),
        }

    def _repr_html_(self) -> str:
        return _html.table([_row(self)], header=_COLUMNS)


@dataclass(frozen=True, slots=True)
class AttentionTrace:
    """The fact attention behind an answer, for looking at.

    Attributes:
        facts: The selected facts, k.
        layers: The knowledge layers.
        tokens: The answer's tokens, N.
        by_layer: Attention of the prompt's last token to each fact, (layers, k).
        by_token: How much each token was read from each fact, (N, k).
    """

    facts: tuple[Fact, ...]
    layers: tuple[int, ...]
    tokens: tuple[str, ...]
    by_layer: NDArray[np.float32]
    by_token: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, and where it comes from.

    Attributes:
        text: The reply.
        citations: The facts it was read from, in the order of the text.
        refused: Whether the facts do not answer the question.
        finish_reason: ``"stop"``, ``"length"`` or ``"refusal"``.
        usage: Tokens read and written.
        facts: The facts that the prompt selected, best first.
        kb_fingerprint: The state of the store that was read, or None without one.
        model_name: The base model.
        seconds: From the call to the answer.
        time_to_first_token: From the call to the first token, in seconds.
        attention: The fact attention, where a trace was asked for.
    """

    text: str
    citations: tuple[Citation, ...]
    refused: bool
    finish_reason: Literal["stop", "length", "refusal"]
    usage: Usage
    facts: tuple[ScoredFact, ...]
    kb_fingerprint: str | None
    model_name: str
    seconds: float
    time_to_first_token: float
    attention: AttentionTrace | None = None

    def __str__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        """For notebooks: the text with what was copied marked, and the facts it was read from."""
        spans = [
            (citation.start, citation.end, citation.fact.statement)
            for citation in self.citations
            if citation.start is not None and citation.end is not None
        ]
        if self.citations:
            source = _html.table(map(_row, self.citations), header=_COLUMNS)
        else:
            source = _html.note("refused: the facts do not say" if self.refused else "no citation")
        return _html.box(_html.marked(self.text, spans), source)

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able values, without the attention trace."""
        return {
            "text": self.text,
            "citations": [citation.to_dict() for citation in self.citations],
            "refused": self.refused,
            "finish_reason": self.finish_reason,
            "usage": {
                "input_tokens": self.usage.input_tokens,
                "output_tokens": self.usage.output_tokens,
            },
            "facts": [{"id": f.fact.id, "score": f.score} for f in self.facts],
            "kb_fingerprint": self.kb_fingerprint,
            "model_name": self.model_name,
            "seconds": self.seconds,
            "time_to_first_token": self.time_to_first_token,
        }


_COLUMNS = ("read from", "share of attention", "source")


def _row(citation: Citation) -> tuple[str, str, str]:
    fact = citation.fact
    source = ", ".join(f"{key}: {value}" for key, value in fact.metadata.items())
    return escape(fact.statement), _html.bar(citation.score), _html.note(source)
