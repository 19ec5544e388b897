"""Gradient checkpointing of the frozen base, around the parts that facts are read in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from torch.utils.checkpoint import checkpoint

from kblam.decoder import AttachedDecoder
from kblam.training.compilation import parts_without_facts

__all__ = ["recomputed"]


@contextmanager
def recomputed(decoder: AttachedDecoder) -> Iterator[None]:
    """Compute activations of the base again when gradients need them, inside the ``with`` block.

    They are not kept: less memory for more time, and the same gradients. What Transformers has
    for it runs whole layers again, also those that read facts, where what a session knows by then
    is not what it knew the first time. Here only what lies around attention to facts runs twice.

    Args:
        decoder: The base with the adapter in training attached.
    """
    parts = parts_without_facts(decoder)
    for part in parts:
        # Nothing is drawn at random in the base, which is not in training.
        part.forward = partial(
            checkpoint, part.forward, use_reentrant=False, preserve_rng_state=False
        )
    try:
        yield
    finally:
        for part in parts:
            del part.forward
