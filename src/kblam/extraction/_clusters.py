"""From probable pairs to groups of names, none of which holds two that exclude each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from kblam.extraction._linkage import Candidate

__all__ = ["Clusters", "cluster"]

# Two names are strangers below this: what joins them to a third one joins it to two entities.
_STRANGERS = 0.05


@dataclass(slots=True)
class Clusters:
    """Groups of records by their positions.

    Attributes:
        groups: Each with the probability of its weakest link.
        refused: Pairs that were not joined, and why.
    """

    groups: list[tuple[list[int], float]] = field(default_factory=list)
    refused: list[tuple[Candidate, str]] = field(default_factory=list)


def cluster(
    candidates: Sequence[Candidate],
    threshold: float,
    objection: Callable[[int, int], str],
) -> Clusters:
    """Join what is probably the same: connected components, the most probable pairs first.

    Args:
        candidates: Pairs and their probabilities.
        threshold: Pairs from this probability on are joined.
        objection: Says why two records cannot be the same, "" where they can.
    """
    odds = {(c.left, c.right): c.probability for c in candidates}
    result = Clusters()
    members: dict[int, list[int]] = {}
    weakest: dict[int, float] = {}
    links = [c for c in candidates if c.probability >= threshold]
    neighbours = defaultdict(set)
    for link in links:
        if not objection(link.left, link.right):
            neighbours[link.left].add(link.right)
            neighbours[link.right].add(link.left)
    for link in sorted(links, key=lambda c: (-c.probability, c.left, c.right)):
        left = members.get(link.left, [link.left])
        right = members.get(link.right, [link.right])
        if left is right:
            continue
        reason = _reason(left, right, objection) or _rival(link, neighbours, odds)
        if reason:
            result.refused.append((link, reason))
            continue
        probability = min(link.probability, weakest.get(left[0], 1.0), weakest.get(right[0], 1.0))
        joined = left + right
        weakest[joined[0]] = probability
        members.update(dict.fromkeys(joined, joined))
    groups = {id(group): group for group in members.values()}
    result.groups = sorted((sorted(group), weakest[group[0]]) for group in groups.values())
    return result


def _reason(left: list[int], right: list[int], objection: Callable[[int, int], str]) -> str:
    return next((why for one in left for other in right if (why := objection(one, other))), "")


def _rival(
    link: Candidate, neighbours: dict[int, set[int]], odds: dict[tuple[int, int], float]
) -> str:
    """Say whether one of the two may as well mean a third that is a stranger to the other."""
    for one, other in ((link.left, link.right), (link.right, link.left)):
        for third in sorted(neighbours[one] - {other}):
            pair = (min(other, third), max(other, third))
            if odds.get(pair, 0.0) < _STRANGERS:
                return "one of them may as well mean something else"
    return ""
