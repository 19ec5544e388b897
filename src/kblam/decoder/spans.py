"""Texts that may be copied into an answer, as tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

__all__ = ["Ending", "SpanLookup", "SpanTokens", "Spelling"]

# What a text ends in that must not go on after it.
Ending = Literal["word", "number"]


class Spelling(NamedTuple):
    """How a text is written.

    Attributes:
        spaced: With a space before it, as after other text.
        number: As the number that it states.
    """

    spaced: bool
    number: bool = False


@dataclass(frozen=True)
class SpanTokens:
    """A text to copy as tokens.

    Attributes:
        first: Without a space before it, as it stands at a start or behind a bracket.
        later: With one, as it stands behind other words.
        ends_in_word: Whether its last character is a letter or a digit, which another one
            written right after it would make part of something else.
        number: The one number that it states, as a form takes it ("48200" of "48,200 euros").
    """

    first: tuple[int, ...]
    later: tuple[int, ...]
    ends_in_word: bool = False
    number: SpanTokens | None = None

    def spelled(self, spelling: Spelling) -> tuple[int, ...]:
        """The tokens of a spelling; none where there is no such one."""
        text = self.number if spelling.number else self
        if text is None:
            return ()
        return text.later if spelling.spaced else text.first

    def ending(self, spelling: Spelling) -> Ending | None:
        """What it ends in."""
        if spelling.number:
            return "number"
        return "word" if self.ends_in_word else None


class SpanLookup:
    """The texts that each prompt of a batch may copy, as tokens.

    Args:
        texts: Per prompt, per selected fact its P texts, one fact after the other.
        opens: Whether a text after this token is written without a space before it.
        verbs: Per prompt, whether each fact's property is a verb; None where none is.
        spaced_start: Whether the first text of an answer has a space before it all the same,
            which is not shown.
    """

    def __init__(
        self,
        texts: Sequence[Sequence[SpanTokens]],
        opens: Callable[[int], bool],
        verbs: Sequence[Sequence[bool]] | None = None,
        *,
        spaced_start: bool = False,
    ) -> None:
        self._texts = texts
        self._opens = opens
        self._verbs = verbs
        self._spaced_start = spaced_start

    def verbs(self, batch: int, count: int) -> list[list[bool]]:
        """Whether the property of each row's ``count`` facts is a verb."""
        if self._verbs is None:
            return [[False] * count for _ in range(batch)]
        return [list(self._verbs[self.row(index, batch)]) for index in range(batch)]

    def row(self, index: int, batch: int) -> int:
        """The prompt that a row of the batch belongs to (beams share one)."""
        return index // max(1, batch // max(1, len(self._texts)))

    def after(self, text: tuple[int, ...]) -> Spelling:
        """How something is written that is copied after ``text``."""
        return Spelling(spaced=not self._opens(text[-1]) if text else self._spaced_start)

    def ending(self, prompt: int, place: int, spelling: Spelling) -> Ending | None:
        """What a text ends in."""
        return self._texts[prompt][place].ending(spelling)

    def tokens(self, prompt: int, place: int, spelling: Spelling) -> tuple[int, ...]:
        """The tokens of a text; none where the fact does not exist."""
        if place >= len(self._texts[prompt]):
            return ()
        return self._texts[prompt][place].spelled(spelling)

    def offered(self, prompt: int, spelling: Spelling, count: int) -> list[tuple[int, ...]]:
        """The tokens of a prompt's ``count`` texts."""
        return [self.tokens(prompt, place, spelling) for place in range(count)]
