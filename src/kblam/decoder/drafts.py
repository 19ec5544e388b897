"""Guesses at what an answer goes on with, to be checked together.

Answers mostly repeat what the selected facts say, so that their sentences are good drafts: where
the last tokens written stand in one, what follows there is guessed to follow here (decoding with
references, Yang et al., 2023, arXiv 2304.04487).
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["drafted"]

# So many tokens that stand inside a text tell where in it an answer is; one does at its start.
_ALIKE = 2
# So many tell no less than more would, and bound the work where a text repeats itself.
_LONGEST = 16


def drafted(written: Sequence[int], texts: Sequence[Sequence[int]], room: int) -> list[int]:
    """Guess what follows.

    Args:
        written: The tokens of an answer so far.
        texts: The tokens of what it may repeat, the likeliest first.
        room: At most so many tokens.

    Returns:
        What follows the longest end of ``written`` that stands in one of the texts, of up to 16
        tokens; none where there is none.
    """
    longest, found = 0, list[int]()
    for text in texts:
        for place in range(1, len(text)):
            length = _common(written, text, place)
            if length > longest and (length == place or length >= _ALIKE):
                longest, found = length, list(text[place:])
    return found[:room]


def _common(written: Sequence[int], text: Sequence[int], place: int) -> int:
    """How many tokens at the end of ``written`` are those of a text before a place."""
    length, most = 0, min(place, len(written), _LONGEST)
    while length < most and written[-1 - length] == text[place - 1 - length]:
        length += 1
    return length
