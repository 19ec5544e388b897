"""Watching a generation: time, stop strings, cancellation, pieces of text as they come."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase, StoppingCriteria

__all__ = ["GenerationWatch", "cut_at_stop"]


def cut_at_stop(text: str, stop: Sequence[str]) -> tuple[str, bool]:
    """The text before the first stop string, and whether there was one."""
    found = [position for position in (text.find(s) for s in stop) if position >= 0]
    return (text[: min(found)], True) if found else (text, False)


class GenerationWatch(StoppingCriteria):
    """Called after every token of a ``generate`` call.

    Args:
        tokenizer: To read the tokens.
        prompt_length: Tokens of the padded prompt.
        stop: Strings that end a row.
        on_text: Called with the whole text of row 0 so far, where given.
        cancelled: Asked after every token, where given.

    Attributes:
        first_token_at: Reading of the clock once the first tokens were there; None before.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        prompt_length: int,
        stop: Sequence[str] = (),
        *,
        on_text: Callable[[str], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> None:
        self._tokenizer = tokenizer
        self._prompt_length = prompt_length
        self._stop = tuple(stop)
        self._on_text = on_text
        self._cancelled = cancelled
        self.first_token_at: float | None = None

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        """Tell which rows are done, (B,)."""
        if self.first_token_at is None:
            # A GPU may still be at it: its tokens are there once one of them is read.
            int(input_ids[0, -1])
            self.first_token_at = time.perf_counter()
        batch = input_ids.shape[0]
        if self._cancelled is not None and self._cancelled():
            return torch.ones(batch, dtype=torch.bool, device=input_ids.device)
        done = torch.zeros(batch, dtype=torch.bool, device=input_ids.device)
        if not self._stop and self._on_text is None:
            return done
        rows = input_ids if self._stop else input_ids[:1]
        texts = self._tokenizer.batch_decode(
            rows[:, self._prompt_length :], skip_special_tokens=True
        )
        for row, text in enumerate(texts):
            if self._stop:
                done[row] = cut_at_stop(text, self._stop)[1]
        if self._on_text is not None:
            self._on_text(texts[0])
        return done
