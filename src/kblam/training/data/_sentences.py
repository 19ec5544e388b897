"""The answers that training teaches."""

from __future__ import annotations

from collections.abc import Sequence

from kblam.knowledge import Triple

__all__ = ["joined", "told"]


def told(facts: Sequence[Triple], gold: Sequence[int]) -> tuple[str | int, ...]:
    """Return the parts of a sentence that states facts, in their order.

    Properties are named as the store names them, whether they have one value or several: "The
    founder of Acme is Ann and Bo", since only so they can be copied.

    Args:
        facts: A corpus's.
        gold: Indices of those to state. Values of one property of an entity are listed.

    Returns:
        Text with its own spaces, and the indices of the facts whose values stand between.
    """
    groups: dict[str, list[int]] = {}
    for index in gold:
        groups.setdefault(facts[index].lead, []).append(index)
    parts: list[str | int] = []
    for position, (lead, indices) in enumerate(groups.items()):
        if len(indices) > 1 and _is_plural(facts[indices[0]]):
            lead = f"{lead.removesuffix('is ')}are "
        if position:
            lead = f"the {lead[4:]}" if lead.startswith("The ") else lead
            lead = f"{' and' if position == len(groups) - 1 else ','} {lead}"
        parts += [lead, *joined(indices)]
    # A value can end with a full stop itself ("Inc.").
    if gold and not facts[gold[-1]].value_text.endswith("."):
        parts.append(".")
    return tuple(parts)


def joined(indices: Sequence[int]) -> tuple[str | int, ...]:
    """Return the parts of an answer that name values one after the other: A, B and C."""
    parts: list[str | int] = [indices[0]]
    for position, index in enumerate(indices[1:], start=1):
        parts += [" and " if position == len(indices) - 1 else ", ", index]
    return tuple(parts)


def _is_plural(fact: Triple) -> bool:
    """Whether a noun looks like several: sponsors, but not address, status or basis."""
    name = fact.property_text
    several = name.endswith("s") and not name.endswith(("ss", "us", "is"))
    return several and fact.verb_text is None
