"""Texts that may be copied into an answer, as tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

__all__ = ["SpanLookup", "SpanTokens"]


@dataclass(frozen=True)
class SpanTokens:
    """A text to copy as tokens, at the start of an answer and after other text.

    Attributes:
        first: Without a space before it.
        later: With one.
        ends_in_word: Whether its last character is a letter or a digit, which another one
            written right after it would make part of something else.
    """

    first: tuple[int, ...]
    later: tuple[int, ...]
    ends_in_word: bool = False


class SpanLookup:
    """The texts that each prompt of a batch may copy, as tokens.

    Args:
        texts: Per prompt, per selected fact its P texts, one fact after the other.
        opens: Whether a text after this token is written without a space before it.
        verbs: Per prompt, whether each fact's property is a verb; None where none is.
    """

    def __init__(
        self,
        texts: Sequence[Sequence[SpanTokens]],
        opens: Callable[[int], bool],
        verbs: Sequence[Sequence[bool]] | None = None,
    ) -> None:
        self._texts = texts
        self._opens = opens
        self._verbs = verbs

    def verbs(self, batch: int, count: int) -> list[list[bool]]:
        """Whether the property of each row's ``count`` facts is a verb."""
        if self._verbs is None:
            return [[False] * count for _ in range(batch)]
        return [list(self._verbs[self.row(index, batch)]) for index in range(batch)]

    def row(self, index: int, batch: int) -> int:
        """The prompt that a row of the batch belongs to (beams share one)."""
        return index // max(1, batch // max(1, len(self._texts)))

    def starts_text(self, text: tuple[int, ...]) -> bool:
        """Whether what is copied after ``text`` has no space before it."""
        return not text or self._opens(text[-1])

    def ends_in_word(self, prompt: int, place: int) -> bool:
        """Whether a text's last character is a letter or a digit."""
        return self._texts[prompt][place].ends_in_word

    def tokens(self, prompt: int, place: int, at_start: bool) -> tuple[int, ...]:
        """The tokens of a text; empty where the fact does not exist."""
        if place >= len(self._texts[prompt]):
            return ()
        text = self._texts[prompt][place]
        return text.first if at_start else text.later
