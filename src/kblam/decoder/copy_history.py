"""How the texts of a generation came about, the short ones too: a beam may end and win later."""

from __future__ import annotations

from collections.abc import Iterable

from kblam.decoder.copy_states import CopyState

__all__ = ["CopyHistory"]


class CopyHistory:
    """The states after each text that was written, and what was read for the token after it.

    A text is known by the text before it and its last token, so that what is kept grows with the
    length of the answers, not with its square.
    """

    def __init__(self) -> None:
        self._places: dict[tuple[int, int], int] = {}
        self._states: dict[int, list[CopyState]] = {}
        self._readings: dict[int, list[float]] = {}

    def keep(
        self,
        prompt: int,
        text: Iterable[int],
        states: list[CopyState],
        reading: list[float] | None = None,
    ) -> None:
        """Keep the states after a text of a prompt's answers, and how much facts are read there."""
        place = _start(prompt)
        for token in text:
            place = self._places.setdefault((place, token), len(self._places))
        self._states[place] = states
        if reading is not None:
            self._readings[place] = reading

    def readings(self, prompt: int, text: Iterable[int]) -> list[list[float]]:
        """How much each fact was read for each of a text's tokens, as far as that was kept."""
        found: list[list[float]] = []
        place: int | None = _start(prompt)
        for token in text:
            if place is None or place not in self._readings:
                break
            found.append(self._readings[place])
            place = self._places.get((place, token))
        return found

    def longest(self, prompt: int, text: Iterable[int]) -> tuple[int, list[CopyState]]:
        """The states after as much of a text as was kept.

        Returns:
            The length of that beginning, and its states; 0 and none where nothing was kept.
        """
        place, found = _start(prompt), 0
        states = self._states.get(place, [])
        for length, token in enumerate(text, 1):
            after = self._places.get((place, token))
            if after is None:
                break
            place = after
            if place in self._states:
                found, states = length, self._states[place]
        return found, states


def _start(prompt: int) -> int:
    """The place of a prompt's empty text: below 0, where no other one is."""
    return ~prompt
