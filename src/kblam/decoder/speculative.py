"""Speculative decoding: several guessed tokens pass through the decoder at once.

A decoder takes hardly longer for a few tokens than for one, as it reads all of its weights for
each pass. What it would have chosen after each of the guessed tokens is known after one pass, and
guesses are kept as far as it agrees (Leviathan et al., ICML 2023). Every token is the one that
would have been chosen, or drawn with the same random numbers, without guesses.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, GenerationConfig, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from kblam.decoder.tap import HiddenTap

__all__ = ["SpeculativeDecoding", "can_take_back"]

# In earlier releases of Transformers what has left a sliding window is gone.
_RECORDS = all(hasattr(DynamicCache, name) for name in ("activate_past_recording", "is_croppable"))


class SpeculativeDecoding:
    """A decoding loop for one row, to give to ``generate`` as ``custom_generate``.

    Args:
        tap: The hidden states that logits processors look at.
        draft: Makes guesses, of the tokens of the answer so far and how many there is room for.
    """

    def __init__(self, tap: HiddenTap, draft: Callable[[list[int], int], Sequence[int]]) -> None:
        self._tap = tap
        self._draft = draft

    def __call__(
        self,
        model: PreTrainedModel,
        input_ids: Tensor,
        logits_processor: Callable[[Tensor, Tensor], Tensor],
        stopping_criteria: Callable[[Tensor, None], Tensor],
        generation_config: GenerationConfig,
        **_: Any,
    ) -> Tensor:
        """Generate.

        Args:
            model: A decoder for which :func:`can_take_back`.
            input_ids: The prompt, (1, T), without padding.
            logits_processor: Called once for each token of the answer, in order.
            stopping_criteria: The same.
            generation_config: Greedy or sampling, and the greatest length.

        Returns:
            Prompt and answer, (1, T + length of the answer).
        """
        prompt, text, read = input_ids.shape[1], input_ids, 0  # so many tokens are in the cache
        guesses: Sequence[int] = ()
        # Not the one that generate makes: not all releases hand it on.
        cache = DynamicCache(config=model.config)
        # Some of the older families make the logits of all tokens.
        keeps = "logits_to_keep" in inspect.signature(model.forward).parameters
        while True:
            given = {"logits_to_keep": len(guesses) + 1} if keeps else {}
            new = _with(text[:, read:], guesses)
            output = model(input_ids=new, past_key_values=cache, use_cache=True, **given)
            logits, read = output.logits, text.shape[1]
            # The last one is none: after it, nothing was read.
            for place, guess in enumerate((*guesses, None)):
                self._tap.position = place - len(guesses) - 1
                after = logits[:, self._tap.position].to(torch.float32, copy=True)
                token = _chosen(logits_processor(text, after), generation_config.do_sample)
                text = torch.cat([text, token], dim=1)
                if bool(stopping_criteria(text, None).all()):
                    return text
                if guess is None or int(token) != guess:
                    break
                read += 1
            _take_back(cache, len(guesses) - place)
            room = int(generation_config.max_length or 0) - text.shape[1] - 1
            guesses = self._draft(text[0, prompt:].tolist(), room) if room > 0 else ()


def _with(tokens: Tensor, guesses: Sequence[int]) -> Tensor:
    """Tokens (1, T) with some more."""
    return torch.cat([tokens, tokens.new_tensor([guesses])], dim=1) if guesses else tokens


def _chosen(scores: Tensor, do_sample: bool) -> Tensor:
    """The next token of scores (1, V), (1, 1)."""
    if do_sample:
        return torch.multinomial(scores.softmax(-1), num_samples=1)
    return scores.argmax(-1, keepdim=True)


def can_take_back(model: PreTrainedModel) -> bool:
    """Whether a decoder's cache can forget its last tokens; recurrent states cannot."""
    cache = DynamicCache(config=model.config)
    if _RECORDS:
        return bool(cache.is_croppable)
    return all(type(layer) is DynamicLayer for layer in cache.layers)


def _take_back(cache: DynamicCache, count: int) -> None:
    """Make a cache forget its last tokens."""
    if _RECORDS:
        # Asked for after the prompt, which may be long. Sliding windows then wait for the crop,
        # also of nothing, before they forget what has left them.
        cache.activate_past_recording()
        cache.crop(-count)
    elif count:
        cache.crop(-count)
