"""More arguments for the ``generate`` calls behind :meth:`kblam.KBLaM.ask`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from transformers import LogitsProcessor, LogitsProcessorList, PreTrainedModel

__all__ = ["generating_with"]


@contextmanager
def generating_with(
    decoder: PreTrainedModel, *, processors: Sequence[LogitsProcessor] = (), **arguments: Any
) -> Iterator[None]:
    """Add to what `generate` is called with, inside the ``with`` block.

    So the prompt, the facts and all processors are those of any other answer, and what is
    measured is what people get.

    Args:
        decoder: The base model. Nobody else should generate with it meanwhile.
        processors: Called after all others: they see the distribution that a token is taken from.
        arguments: Further arguments of `generate`.
    """
    generate: Any = decoder.generate

    def more(*given: Any, logits_processor: LogitsProcessorList | None = None, **named: Any) -> Any:
        chain = LogitsProcessorList([*(logits_processor or ()), *processors])
        return generate(*given, logits_processor=chain, **{**named, **arguments})

    vars(decoder)["generate"] = more
    try:
        yield
    finally:
        del vars(decoder)["generate"]
