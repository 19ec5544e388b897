"""The values of forms: where one begins in JSON, and what the facts say that belongs there."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

from torch import Tensor

from kblam._engine import Engine
from kblam._form_lists import FormLists
from kblam._selected_facts import SelectedFacts
from kblam.constraint import OutputConstraint
from kblam.decoder import Selection
from kblam.decoder.constrain import ConstraintProcessor
from kblam.decoder.opening import Opening
from kblam.decoder.spans import Ending, Spelling

__all__ = ["FormValues"]

# In JSON of one line, the quotation mark after a colon or among a list's items.
_OPENED = re.compile(r'[:\[] ?"\Z')
_OPENING = 4  # tokens that it may take
# One that may begin an item of a list.
_ITEM = re.compile(r'[\[,] ?"\Z')
# The name of the property before it.
_NAME = re.compile(r'"([^"\\]+)"\s*:\s*\[?\s*"\Z')
# The same before a number, or the next one of a list.
_NUMBER_OF = re.compile(r'"([^"\\]+)": ?(?:\[(?:[-+.0-9eE]+, ?)*)?\Z')


class FormValues:
    """Fills a form of JSON with what the facts say.

    Args:
        engine: The weights.
        facts: Those that the prompts selected.
        form: The form.
        held: What holds the answers to it.
        selection: How the prompts selected them, once they have.
        is_call: Whether it is that of a tool's call.

    Attributes:
        lists: Knows of its lists.
    """

    def __init__(
        self,
        engine: Engine,
        facts: SelectedFacts,
        form: OutputConstraint,
        held: ConstraintProcessor,
        selection: Callable[[], Selection],
        *,
        is_call: bool,
    ) -> None:
        self._engine = engine
        self._facts = facts
        self._form = form
        self._held = held
        self.lists = FormLists(engine, facts, form, held, selection, is_call=is_call)
        self._is_call = is_call

    def opening(self, prompt: int, text: tuple[int, ...]) -> Opening | None:
        """What to copy where these tokens of JSON open a value, a string or a number."""
        decode = self._engine.tokenizer.decode
        last = str(decode(list(text[-_OPENING:])))
        place = self.lists.at(prompt, text) if _ITEM.search(last) else None
        if place is not None and place.left:
            return Opening(self._of_list(prompt, place.left))
        if _OPENED.search(last) is not None:
            name = _NAME.search(str(decode(list(text))))
            return Opening(self._fitting(prompt, "" if name is None else name[1]))
        # Numbers in calls of tools are the caller's, how many of something to order, say.
        if self._is_call or not last.rstrip(" ").endswith((":", ",", "[")):
            return None
        name = _NUMBER_OF.search(str(decode(list(text))))
        if name is None or self._held.takes_string(text):
            return None
        # A minus may be one token with the space before it.
        spelling = Spelling(spaced=last.endswith((":", ",")), number=True)
        numbers = self._facts.spelled(prompt, spelling)
        takes = self._held.takes
        fitting = [number if number and takes(text, number) else () for number in numbers]
        if not any(fitting):
            return None
        return Opening(self._fitting(prompt, name[1]), fitting, spelling)

    def _of_list(self, prompt: int, left: Collection[int]) -> list[float]:
        """Values that a list lacks alone."""
        assert self._engine.decoder is not None
        copied = self._engine.decoder.adapter.config.copied
        places = range(len(self._facts.found[prompt]))
        return [float(place in left and part == "value") for place in places for part in copied]

    def _fitting(self, prompt: int, field: str) -> list[float]:
        return self._facts.fitting(prompt, field, sorted(self._form.fields - {field}))

    @property
    def endings(self) -> dict[Ending, Tensor]:
        """True on tokens that may not follow a copied value, (V,), by what it ends in."""
        # A string in JSON ends with its value: what a sentence would go on with is no data.
        tokens, device = self._engine.grammar_tokenizer, self._engine.model.device
        return {"word": ~tokens.quotes.to(device), "number": tokens.figures.to(device)}
