"""Which facts of a store a model would never read: each asked for by its own question."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

from kblam import _html
from kblam._answering import narrowed
from kblam.config import GenerationOptions
from kblam.errors import ConfigError
from kblam.knowledge import Fact, View

if TYPE_CHECKING:
    from kblam.model import KBLaM

__all__ = ["SelectionCheck", "check_selection"]

_BATCH = 16
_SHOWN = 20


@dataclass(frozen=True)
class SelectionCheck:
    """What came of asking for facts.

    A fact counts as found first if the first selected says the same property of the same
    entity: of several values, any.

    Attributes:
        asked: How many facts were asked for.
        first: How many of them were selected first.
        later: Facts selected, but after another, with that other one.
        never: Facts not selected at all, with what was selected first, if anything was.
    """

    asked: int
    first: int
    later: tuple[tuple[Fact, Fact], ...]
    never: tuple[tuple[Fact, Fact | None], ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able values; facts by their identifiers."""
        return {
            "asked": self.asked,
            "first": self.first,
            "later": [[fact.id, other.id] for fact, other in self.later],
            "never": [[fact.id, other.id if other else None] for fact, other in self.never],
        }

    def __str__(self) -> str:
        lines = [
            f"Of {self.asked:,} facts asked for, {self.first:,} were selected first, "
            f"{len(self.later):,} later, {len(self.never):,} never."
        ]
        for kind, found in (("later", self.later), ("never", self.never)):
            lines.extend(f"{kind}: {fact.statement} {_instead(other)}" for fact, other in found)
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        found = [(kind, *pair) for kind in ("later", "never") for pair in getattr(self, kind)]
        rows = [
            (kind, escape(fact.statement), escape(other.statement) if other else "")
            for kind, fact, other in found[:_SHOWN]
        ]
        shown = _html.table(rows, header=("selected", "fact", "first was")) if rows else ""
        more = _html.note(f"and {len(found) - _SHOWN:,} more") if len(found) > _SHOWN else ""
        return _html.box(escape(str(self).split("\n", 1)[0]), shown, more)


def check_selection(
    model: KBLaM,
    *,
    limit: int | None = None,
    view: View | None = None,
    seed: int = 0,
    progress: bool = False,
) -> SelectionCheck:
    """Ask a model for each fact of its store, and see whether it selects that fact.

    What it does not select it never reads: another fact says nearly the same, the entity or the
    property is a code rather than words, or two entities share a name. A question takes about as
    long as a first token.

    Args:
        model: With a store attached.
        limit: Ask for so many facts, drawn at random; None asks for all.
        view: Which facts there are; it narrows the view attached, if any.
        seed: Of the draw.
        progress: Show a progress bar.

    Raises:
        ConfigError: No store is attached, it has no fact to ask for, or ``limit`` is below 1.
    """
    if limit is not None and limit < 1:
        raise ConfigError(f"Expected a limit of 1 or more facts, got {limit}. None asks for all.")
    if model.store is None:
        raise ConfigError(
            "Expected a model with a store to check, none is attached. Call attach()."
        )
    facts = list(model.store.facts(narrowed(model.view, view)))
    if not facts:
        raise ConfigError(
            "Expected a store with facts to ask for, got one that is empty or shows none in this "
            "view. Add facts, or widen the view."
        )
    if limit is not None and limit < len(facts):
        facts = random.Random(seed).sample(facts, limit)
    first, later, never = 0, [], []
    bar = tqdm(total=len(facts), desc="Asking", unit=" facts", disable=not progress)
    with bar:
        for some in _batches(facts):
            for fact, ranked in zip(some, _ranked(model, some, view), strict=True):
                if ranked and _key(ranked[0]) == _key(fact):
                    first += 1
                elif fact.id in {other.id for other in ranked}:
                    later.append((fact, ranked[0]))
                else:
                    never.append((fact, ranked[0] if ranked else None))
            bar.update(len(some))
    return SelectionCheck(len(facts), first, tuple(later), tuple(never))


def _ranked(model: KBLaM, facts: Sequence[Fact], view: View | None) -> Iterator[list[Fact]]:
    questions = [f"What is {fact.key_text}?" for fact in facts]
    for answer in model.ask_batch(questions, GenerationOptions(max_new_tokens=1), view=view):
        yield [scored.fact for scored in answer.facts]


def _batches(facts: Sequence[Fact]) -> Iterator[Sequence[Fact]]:
    # Questions of one length are padded least.
    ordered = sorted(facts, key=lambda fact: len(fact.key_text))
    for start in range(0, len(ordered), _BATCH):
        yield ordered[start : start + _BATCH]


def _key(fact: Fact) -> tuple[str, str]:
    return fact.entity, fact.property


def _instead(other: Fact | None) -> str:
    return "(nothing was selected)" if other is None else f"(first was: {other.statement})"
