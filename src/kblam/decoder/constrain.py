"""Constrained decoding: only tokens with which an answer can still take its form.

The grammar is followed by llguidance. What it does not do is to end in time: an answer that is cut
off at its last token has no form at all. So near the end the shortest way to a finished answer is
looked up, and only tokens that leave room for one may be chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import LogitsProcessor

from kblam.decoder.grammar import GrammarTokenizer
from kblam.errors import ConstraintError

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

__all__ = ["ConstraintProcessor"]

# With so many tokens left, each of the likeliest next tokens is checked to leave a way to the end.
_WATCHED = 96
_CHECKED = 6


class ConstraintProcessor(LogitsProcessor):
    """Lets a generation choose only tokens with which its answer takes a form in time.

    Args:
        grammar: The form.
        tokenizer: The model's.
        prompt_length: Tokens of the padded prompt.
        max_new_tokens: Tokens that an answer may have.

    Raises:
        ConstraintError: The grammar does not fit the tokenizer, or no answer in this form is
            found that is short enough.
    """

    def __init__(
        self,
        grammar: str,
        tokenizer: GrammarTokenizer,
        prompt_length: int,
        max_new_tokens: int,
    ) -> None:
        from llguidance import LLMatcher

        self._prompt_length = prompt_length
        self._budget = max_new_tokens
        self._ends = frozenset(tokenizer.tokens.eos_tokens)
        self._closing = _Closing(tokenizer.tokens)
        self._marks = tokenizer.marks
        self._brackets = tokenizer.brackets
        start = LLMatcher(tokenizer.tokens, grammar)
        if start.is_error():
            raise ConstraintError(f"No answer can be held to this form: {start.get_error():.500}")
        shortest = self._closing.way(start, max_new_tokens)
        if shortest is None:
            raise ConstraintError(
                f"Expected room for an answer in its form, got {max_new_tokens} tokens, which are "
                "too few. Let it have more (max_new_tokens, or max_tokens where it is called so), "
                "or make the form smaller."
            )
        # What one more item of a list may need is unknown, but of the order of the whole.
        self._watched = max(_WATCHED, 4 * len(shortest))
        # By the text written, not by the row: beams are reordered and copied.
        self._states: dict[tuple[int, ...], LLMatcher] = {(): start}

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Set scores (B, V) of tokens that may not follow to minus infinity."""
        texts = [tuple(row) for row in input_ids[:, self._prompt_length :].tolist()]
        states = {text: self._follow(text) for text in dict.fromkeys(texts)}
        self._states = {text: state for text, state in states.items() if state is not None}
        rows = []
        for row, text in enumerate(texts):
            state = states[text]
            if state is None:
                rows.append(scores[row])
                continue
            allowed = self._allowed(state, self._budget - len(text), scores[row])
            # Looked at before it goes to the scores' device.
            shown = torch.from_numpy(allowed)[: scores.shape[1]]
            scored, shown = self._marked(scores[row], shown)
            rows.append(scored.masked_fill(~shown.to(scores.device), -torch.inf))
        return torch.stack(rows)

    def takes(self, text: tuple[int, ...], tokens: Sequence[int]) -> bool:
        """Whether tokens may all follow the text that is written so far."""
        state = self._follow(text)
        return state is not None and state.try_consume_tokens(list(tokens)) == len(tokens)

    def forced(self, text: tuple[int, ...]) -> list[int]:
        """The tokens that alone can follow the text that is written so far."""
        state = self._follow(text)
        return [] if state is None else list(state.compute_ff_tokens())

    def takes_string(self, text: tuple[int, ...]) -> bool:
        """Whether a string may begin after the text that is written so far."""
        return any(self.takes(text, [mark]) for mark, _ in self._marks)

    def takes_any_string(self, text: tuple[int, ...]) -> bool:
        """Whether any string may begin after the text that is written so far, and no choice."""
        return any(
            all(self.takes(text, [mark, token]) for token in self._closing.some)
            for mark, _ in self._marks
        )

    def _marked(self, scores: Tensor, allowed: Tensor) -> tuple[Tensor, Tensor]:
        """Count tokens that begin with a quotation mark for the mark alone.

        A model that wants to end a string may want to write what follows in the same token. If
        that is not what may follow, the string is to end all the same. And where a string
        begins, it begins with the mark: a token of two signs, '"}' say, would be the end of an
        empty string in most texts, and is no sign of what the string should hold. So does a list
        with its bracket: in "[-" its first number would have begun before a fact could give it.

        Args:
            scores: (V,).
            allowed: Which tokens may follow, (V,), on the CPU.
        """
        scores, allowed = scores.clone(), allowed.clone()
        inside = bool(allowed[self._closing.quote] & allowed[self._closing.letter])
        for mark, begins in self._marks if inside else [*self._marks, *self._brackets]:
            if not allowed[mark]:
                continue
            merged = begins & ~allowed if inside else begins.clone()
            merged[mark] = True
            scores[mark] = scores[merged].logsumexp(0)
            allowed &= ~merged
            allowed[mark] = True
        return scores, allowed

    def _follow(self, text: tuple[int, ...]) -> LLMatcher | None:
        """Return the state after a text, None after one that has ended or was refused."""
        if not text:
            return self._states[()].deep_copy()
        before = self._states.get(text[:-1])
        if before is None or text[-1] in self._ends:
            return None
        state = before.deep_copy()
        if not state.consume_token(text[-1]):
            return None
        return state

    def _allowed(self, state: LLMatcher, left: int, scores: Tensor) -> npt.NDArray[np.bool_]:
        """Tell which tokens may follow, (V,), with so many tokens left."""
        allowed = _bits(state)
        if left > self._watched:
            return allowed
        way = self._closing.way(state, left)
        if not way:
            return allowed  # finished, or too late: what is left keeps the form as far as it goes
        kept = np.zeros_like(allowed)
        kept[way[0]] = True
        legal = scores.masked_fill(
            ~torch.from_numpy(allowed)[: scores.shape[0]].to(scores.device), -torch.inf
        )
        for token in legal.topk(_CHECKED).indices.tolist():
            if not allowed[token] or kept[token]:
                continue
            after = state.deep_copy()
            ended = token in self._ends
            if ended or (
                after.consume_token(token) and self._closing.way(after, left - 1) is not None
            ):
                kept[token] = True
        return kept


class _Closing:
    """Finds short ways to a finished answer, without a promise that none is shorter."""

    def __init__(self, tokenizer: LLTokenizer) -> None:
        self._end = tokenizer.eos_token
        quote, brace, bracket, letter = (
            tokenizer.tokenize_str(text)[0] for text in ('"', "}", "]", "a")
        )
        self.quote, self.letter = quote, letter
        self.some = [tokenizer.tokenize_str(text)[0] for text in "aQ7"]
        self._closers = (brace, bracket, quote)

    def way(self, state: LLMatcher, longest: int) -> list[int] | None:
        """Return the tokens that finish an answer, the end token included.

        Args:
            state: Where the answer stands; left as it is.
            longest: The way may have so many tokens.

        Returns:
            None where none was found.
        """
        state, way = state.deep_copy(), list[int]()
        while len(way) < longest:
            if state.is_accepting() or state.is_stopped():
                return [*way, self._end]
            forced = state.compute_ff_tokens()
            # Forced tokens that end at a boundary may be written otherwise: take what is certain.
            tokens = forced or [self._choose(_bits(state))]
            taken = state.try_consume_tokens(tokens)
            if taken == 0:
                return None
            way.extend(tokens[:taken])
        return None

    def _choose(self, allowed: npt.NDArray[np.bool_]) -> int:
        if allowed[self.quote] and allowed[self.letter]:
            return self.quote  # inside a string, where brackets are text
        for token in self._closers:
            if allowed[token]:
                return token
        return int(allowed.argmax())


def _bits(state: LLMatcher) -> npt.NDArray[np.bool_]:
    """The tokens that may follow, (V,)."""
    packed = np.frombuffer(state.compute_bitmask(), dtype=np.uint8)
    return np.unpackbits(packed, bitorder="little").astype(np.bool_)
