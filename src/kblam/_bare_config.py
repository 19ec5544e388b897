"""Generating by what a call asks for, and by nothing that came with the base model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from transformers import GenerationConfig, PreTrainedModel

__all__ = ["bare_generation_config"]

_TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id")


@contextmanager
def bare_generation_config(model: PreTrainedModel) -> Iterator[None]:
    """Leave a model's generation config no more than its tokens, for one ``generate`` call.

    ``generate`` takes from it whatever a call's own config leaves open: penalties for repetition,
    a time limit, several answers for one prompt. Hold the model's lock.
    """
    own = model.generation_config
    # Models that cannot generate by themselves have none.
    model.generation_config = GenerationConfig(**{n: getattr(own, n, None) for n in _TOKENS})
    try:
        yield
    finally:
        model.generation_config = own
