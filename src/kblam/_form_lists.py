"""Lists of texts in forms: what the facts have for one, and how much of that it has by now.

A small model ends a list before its first item as readily as it goes on after the last one. Where
the facts have values for a list, they say how many items it has.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

import torch

from kblam._engine import Engine
from kblam._selected_facts import SelectedFacts
from kblam.constraint import OutputConstraint
from kblam.decoder import Selection
from kblam.decoder.constrain import ConstraintProcessor
from kblam.decoder.lists import ListProcessor, Next
from kblam.knowledge import Fact
from kblam.knowledge._words import property_key

__all__ = ["FormLists", "ListPlace", "list_at"]

_STRING = r'"(?:[^"\\]|\\.)*"'
_LIST = re.compile(
    rf'"(?P<field>[^"\\]+)": \[(?P<items>(?:{_STRING}, )*)'
    rf'(?:(?P<begun>"(?:[^"\\]|\\.)*)|(?P<last>{_STRING})?)\Z'
)
# Of all that a prompt selected, what the facts for a list must make up.
_MOST = 0.5
# And how little of it is nothing.
_HARDLY = 0.05


@dataclass(frozen=True)
class ListPlace:
    """A place in a list of texts of which facts know what belongs there.

    Attributes:
        left: Places among the prompt's facts of those whose values are no items yet.
        following: What the list is to do; None where the facts do not say: where an item is being
            written, and behind one that is none of their values.
    """

    left: frozenset[int]
    following: Next | None


class FormLists:
    """Knows of lists in a form what the facts have for them.

    Args:
        engine: The weights.
        facts: Those that the prompts selected.
        form: The form.
        held: What holds the answers to it.
        selection: How the prompts selected them, once they have.
        is_call: Whether it is that of a tool's call, whose lists are the caller's own: of what to
            order, say.
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
        self._selection = selection
        self._may_be = not is_call and "array" in form.grammar
        self._known: dict[tuple[int, str], dict[int, str] | None] = {}

    def at(self, prompt: int, text: tuple[int, ...]) -> ListPlace | None:
        """Where an answer stands, if that is in such a list.

        Args:
            prompt: Which.
            text: The tokens of its answer so far.
        """
        if not self._may_be:
            return None
        found = list_at(str(self._engine.tokenizer.decode(list(text))))
        if found is None:
            return None
        key = (prompt, found["field"])
        if key not in self._known:
            self._known[key] = self._values(*key)
        values = self._known[key]
        if values is None:
            return None
        items: list[str] = json.loads(f"[{found['items'].rstrip(', ')}]")
        begun, ended = found["begun"], found["last"]
        # An item that is whole but for its mark counts: what follows the mark is in its token.
        last = json.loads(ended) if ended else _text(begun)
        items += [] if last is None else [last]
        if not items and begun is None and not self._held.takes_string(text):
            return None  # of numbers, of objects
        if not values and not self._held.takes_any_string(text):
            return None  # of choices, which may be about what the facts tell
        known = set(values.values())
        left = frozenset(place for place, value in values.items() if value not in items)
        if begun == '"' or (items and items[-1] not in known):
            return ListPlace(left, None)
        whole = not any(other != last and other.startswith(last or "") for other in known)
        return ListPlace(left, Next(bool(left), begun is not None, whole))

    def processors(self, prompt_length: int, prompts: int) -> list[ListProcessor]:
        """What makes lists have all that belongs there, and no more: nothing for a form without.

        Args:
            prompt_length: Tokens of the padded prompts.
            prompts: How many.
        """
        if not self._may_be:
            return []
        tokenizer = self._engine.grammar_tokenizer
        return [ListProcessor(self._next, self._held, tokenizer, prompt_length, prompts)]

    def _next(self, prompt: int, text: tuple[int, ...]) -> Next | None:
        """What such a list is to do, None where that is the model's to say."""
        place = self.at(prompt, text)
        return None if place is None else place.following

    def _values(self, prompt: int, field: str) -> dict[int, str] | None:
        """The values, by place among the facts, of the property that a list asks for.

        None where they say nothing of that: the prompt asks for something else, or several facts
        may be meant. There are none where the form asks for several things, and they tell others.
        """
        facts = self._facts.found[prompt]
        fields = [field, *sorted(self._form.fields - {field})]
        fits = self._facts.fits(prompt, fields)
        selection = self._selection()
        row = prompt * (selection.log_prob.shape[0] // len(self._facts.found))
        if 1.0 - float(selection.log_none[row].exp()) <= _MOST:
            return None
        # What fits another field better belongs there.
        known = torch.tensor([fact is not None for fact in facts]) & (fits.argmax(1) == 0)
        shares = selection.log_prob[row].exp().float().cpu() * known
        weights = shares * fits[:, 0]
        best = int(weights.argmax())
        if len(fields) > 1 and fits[best, 0] <= 1.0:
            return {} if shares.sum() < _HARDLY else None
        alike = [place for place, fact in enumerate(facts) if _same(fact, facts[best])]
        if weights[alike].sum() <= _MOST * weights.sum():
            return None
        return {place: fact.value_text for place in alike if (fact := facts[place]) is not None}


def list_at(text: str) -> re.Match[str] | None:
    """The list in which a beginning of JSON ends, with its field and its items.

    None where it ends in no list, or in one of an object in another list, of which there may be
    several: it is not known whose each is.
    """
    found = _LIST.search(text)
    if found is None:
        return None
    before = re.sub(_STRING, "", text[: found.start()])
    return found if before.count("[") == before.count("]") else None


def _text(begun: str | None) -> str | None:
    """What was written of an item, None where that is nothing, or no whole text yet."""
    if begun is None or begun == '"':
        return None
    try:
        found: str = json.loads(begun + '"')
    except ValueError:  # within an escape
        return None
    return found


def _same(one: Fact | None, other: Fact | None) -> bool:
    """Whether two facts tell of one property of one entity."""
    if one is None or other is None:
        return False
    return one.entity == other.entity and property_key(one.property) == property_key(other.property)
