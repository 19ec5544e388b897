"""How far facts change replies that are not about them: prompt by prompt, and in figures."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kblam.evaluation._figures import Figures
from kblam.evaluation.bootstrap import Parts, ratio, ratios
from kblam.evaluation.config import PreservationConfig

__all__ = [
    "GeneralPrompt",
    "PreservationRecord",
    "PreservationResult",
    "summarise_preservation",
]

Messages = tuple[dict[str, str], ...]


@dataclass(frozen=True)
class GeneralPrompt:
    """A prompt that no fact is about.

    Attributes:
        index: Its line in the file, counted from 0.
        kind: What sort of prompt it is.
        messages: The chat messages.
    """

    index: int
    kind: str
    messages: Messages


@dataclass(frozen=True)
class PreservationRecord:
    """One prompt, with and without facts.

    Attributes:
        index: The prompt's line in its file, counted from 0.
        kind: What sort of prompt it is.
        messages: The chat messages.
        tokens: Tokens of the base's reply that were compared.
        divergence: KL(base || with facts) summed over them, in nats.
        common: How many of them a greedy reply with facts has in common before it differs.
        refused: Whether the model with facts refuses.
        base_reply: The base's greedy reply.
        reply: The greedy reply with facts.
        lost: How much less likely the base alone finds the reply with facts than its own, in nats
            per token; 0 where they are the same, and where it is a refusal.
    """

    index: int
    kind: str
    messages: Messages
    tokens: int
    divergence: float
    common: int
    refused: bool
    base_reply: str
    reply: str
    lost: float

    @property
    def asked(self) -> Messages:
        """The prompt."""
        return self.messages

    @property
    def identical(self) -> bool:
        """Whether the greedy reply is the base's own."""
        return not self.refused and self.common == self.tokens

    @property
    def differs(self) -> bool:
        """Whether the greedy reply is another answer, neither the base's own nor a refusal."""
        return not self.refused and not self.identical

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON-able values."""
        return dataclasses.asdict(self) | {"messages": list(self.messages)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> PreservationRecord:
        """The record that `to_dict` gave."""
        return cls(**(values | {"messages": tuple(values["messages"])}))


@dataclass(frozen=True, kw_only=True)
class PreservationResult(Figures):
    """How much of the base model is left as it was.

    The divergence is the mean over all compared tokens of KL(base || with facts), in nats. It is
    taken between the distributions that tokens are drawn from, copying and refusing included.
    What one of them rules out counts as a probability of 1e-9, so that a refusal, which rules out
    all other words, costs about 20 nats at its one token.

    Attributes:
        num_facts: Facts attached.
        num_prompts: Prompts compared.
        kl_per_token: The divergence over all prompts.
        kl_per_token_answered: The divergence over the prompts that were not refused; None where
            all were.
        kl_per_token_p95: 95th percentile of the prompts' own mean divergence.
        refused: Share of the prompts that were refused.
        identical: Share of the greedy replies that are the base's own, token by token.
        common_prefix: Mean share of the base's tokens before the first that differs.
        likelihood_lost: How much less likely the base alone finds the replies with facts than its
            own greedy ones, nats per token, mean over the prompts that were not refused; a greedy
            reply is about the likeliest there is, so a bit is lost by any other. None where all
            were refused.
        model: The base model.
        adapter: The knowledge adapter.
        encoder: The sentence encoder.
        versions: Of Python and the packages.
        tokens: Tokens compared.
        kinds: `kl_per_token`, `refused` and `identical` by kind of prompt.
        intervals: Bootstrap intervals (95 %) over the prompts.
        seconds: How long it took.
        device: Where it ran.
        threads: Threads of the CPU.
        settings: The settings.
        notes: What a reader of the figures should know.
        records: The prompts one by one; not part of `to_dict`.
    """

    num_facts: int
    num_prompts: int
    kl_per_token: float
    kl_per_token_answered: float | None
    kl_per_token_p95: float
    refused: float
    identical: float
    common_prefix: float
    likelihood_lost: float | None
    model: str
    adapter: str | None
    encoder: str
    versions: dict[str, str]
    tokens: int
    kinds: dict[str, dict[str, float]]
    intervals: dict[str, tuple[float, float]]
    seconds: float
    device: str
    threads: int
    settings: dict[str, Any]
    notes: tuple[str, ...] = ()
    records: tuple[PreservationRecord, ...] = field(default=(), repr=False)

    def to_dict(self) -> dict[str, Any]:
        """The figures as one JSON object, which names its task."""
        return {"task": "preservation"} | super().to_dict()


def summarise_preservation(
    records: Sequence[PreservationRecord], config: PreservationConfig, **facts: Any
) -> PreservationResult:
    """Average the records.

    Args:
        records: One for every prompt.
        config: The settings.
        facts: The fields of the result that do not follow from the records.
    """
    values, intervals = ratios(_figures(records), resamples=config.bootstrap, seed=config.seed)
    per_prompt = [r.divergence / r.tokens for r in records]
    fixed: Any = values
    return PreservationResult(
        num_prompts=len(records),
        **fixed,
        kl_per_token_p95=float(np.quantile(per_prompt, 0.95)),
        tokens=sum(r.tokens for r in records),
        kinds=_by_kind(records),
        intervals=intervals,
        settings=config.to_dict(),
        records=tuple(records),
        **facts,
    )


def _figures(records: Sequence[PreservationRecord]) -> dict[str, Parts]:
    """Each figure as numerators and denominators, one of each per prompt."""
    tokens = [float(r.tokens) for r in records]
    nats = [r.divergence for r in records]
    each = [1.0] * len(records)
    answered = [float(not r.refused) for r in records]
    return {
        "kl_per_token": (nats, tokens),
        "kl_per_token_answered": (_product(answered, nats), _product(answered, tokens)),
        "refused": ([float(r.refused) for r in records], each),
        "identical": ([float(r.identical) for r in records], each),
        "common_prefix": ([r.common / r.tokens for r in records], each),
        "likelihood_lost": (_product(answered, [r.lost for r in records]), answered),
    }


def _product(one: Sequence[float], other: Sequence[float]) -> list[float]:
    return [a * b for a, b in zip(one, other, strict=True)]


def _by_kind(records: Sequence[PreservationRecord]) -> dict[str, dict[str, float]]:
    kinds: dict[str, dict[str, float]] = {}
    for kind in sorted({record.kind for record in records}):
        figures = _figures([record for record in records if record.kind == kind])
        kinds[kind] = {
            name: value
            for name in ("kl_per_token", "refused", "identical")
            if (value := ratio(figures[name])) is not None
        }
    return kinds
