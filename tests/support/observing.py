"""Everything that a call computes and gives back, to be compared bit for bit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from kblam.answer import Answer
from kblam.model import KBLaM


@contextmanager
def logits_of(model: KBLaM) -> Iterator[list[Tensor]]:
    """The logits of every forward pass of the base model, (B, T, V) each."""
    seen: list[Tensor] = []
    hook = model.base.register_forward_hook(lambda *call: seen.append(call[-1].logits.clone()))
    try:
        yield seen
    finally:
        hook.remove()


@contextmanager
def passes_of(base: PreTrainedModel) -> Iterator[list[int]]:
    """How many tokens every forward pass of a decoder has."""
    seen: list[int] = []
    hook = base.register_forward_pre_hook(
        lambda _, args, given: seen.append(given["input_ids"].shape[1]), with_kwargs=True
    )
    try:
        yield seen
    finally:
        hook.remove()


def same(one: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    """Whether two generations computed the same, to the last bit."""
    return len(one) == len(other) and all(map(torch.equal, one, other))


def row_of(logits: Sequence[Tensor], row: int) -> list[Tensor]:
    """The logits of one row of a batch."""
    return [step[row] for step in logits]


def told(answer: Answer) -> dict[str, Any]:
    """All that an answer says but the time it took."""
    timeless = replace(answer, seconds=0.0, time_to_first_token=0.0, attention=None)
    result: dict[str, Any] = {"repr": repr(timeless), **timeless.to_dict()}
    trace = answer.attention
    if trace is not None:
        result["trace"] = (trace.facts, trace.layers, trace.tokens)
        result["numbers"] = [np.asarray(n).tolist() for n in (trace.by_layer, trace.by_token)]
    return result
