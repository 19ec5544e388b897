"""What a batch may attend to, and what it selected of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import overload

from torch import Tensor

from kblam.attention import Int8Facts
from kblam.encoding.evidence import Evidence
from kblam.errors import ConfigError

__all__ = ["Candidates", "FactInput", "Selection", "rows"]

Candidates = Callable[[Tensor], tuple[Tensor, Tensor] | None]


@dataclass(frozen=True)
class FactInput:
    """The facts that a batch may attend to.

    Attributes:
        keys: Encoded keys: (M, E) shared by all rows, or (B, M, E).
        values: Encoded values, of the same shape.
        places: Which of the shared facts there are for this batch, as indices in ascending order,
            (U,): as if the others were not there, without a copy of these. None is all of them.
        mask: True where a row may see a fact, (B, M), or (B, U) with ``places``; None shows all
            facts to all rows.
        encoder_query: The encoder's embedding of each row's question, (B, E).
        context_query: Its embedding of what the user asked before that, (B, E), zero where the
            conversation starts with the question.
        prompt_mask: True on the prompt's tokens, (B, T); selection pools over them. None
            takes every token of the first forward pass.
        evidence: Called with the selected facts, (B, k), and True on those that may be seen,
            (B, k): what the words of the questions say about them. None ranks without.
        candidates: Called with selection queries, (B, E), where all rows see all facts: which
            of very many facts each may be about, (B, C), and True on those that are any, (B, C).
            It may give none, to have all facts scored, as they are without it.
    """

    keys: Tensor | Int8Facts
    values: Tensor | Int8Facts
    places: Tensor | None = None
    mask: Tensor | None = None
    encoder_query: Tensor | None = None
    context_query: Tensor | None = None
    prompt_mask: Tensor | None = None
    evidence: Callable[[Tensor, Tensor], Evidence] | None = None
    candidates: Candidates | None = None

    def __post_init__(self) -> None:
        if self.keys.shape != self.values.shape or self.keys.dim() not in (2, 3):
            raise ConfigError(
                "Expected fact keys and values of one shape, (M, E) or (B, M, E), got "
                f"{tuple(self.keys.shape)} and {tuple(self.values.shape)}."
            )
        if self.places is not None and self.keys.dim() != 2:
            raise ConfigError(
                f"Expected facts shared by all rows, (M, E), where places say which of them "
                f"there are, got {tuple(self.keys.shape)}."
            )
        if self.mask is not None and self.mask.shape[-1] != self.count:
            raise ConfigError(
                f"Expected a fact mask over {self.count} facts, got one over {self.mask.shape[-1]}."
            )

    @property
    def count(self) -> int:
        """How many facts there are for the batch: M, or U with places."""
        return int(self.keys.shape[-2] if self.places is None else self.places.shape[0])


@dataclass(frozen=True)
class Selection:
    """The facts that a prompt selected.

    Attributes:
        index: Into the facts given, (B, k), best first. k is as many as a prompt may select,
            also where it sees fewer.
        visible: True where there is such a fact and the prompt may see it, (B, k).
        log_prob: Log-probability of each, "none of them" being one more outcome, (B, k).
        log_none: Log-probability of "none of them", (B,).
        similarity: The encoder's cosine similarity, (B, k); zero without an encoder query.
        judged: How much each is asked for by the question's words, a logit, (B, k); zero where
            they are not looked at.
    """

    index: Tensor
    visible: Tensor
    log_prob: Tensor
    log_none: Tensor
    similarity: Tensor
    judged: Tensor


@overload
def rows(tensor: Tensor, batch: int) -> Tensor: ...
@overload
def rows(tensor: None, batch: int) -> None: ...
@overload
def rows(tensor: Tensor | None, batch: int) -> Tensor | None: ...
def rows(tensor: Tensor | None, batch: int) -> Tensor | None:
    """Repeat per-prompt rows for beams or several sequences per prompt.

    Raises:
        ConfigError: The batch is no multiple of the rows given.
    """
    if tensor is None or tensor.shape[0] in (1, batch):
        return tensor
    if batch % tensor.shape[0]:
        raise ConfigError(
            f"Expected a batch that is a multiple of the {tensor.shape[0]} rows of facts, "
            f"got {batch}."
        )
    return tensor.repeat_interleave(batch // tensor.shape[0], dim=0)
