"""What a reply is worth: pure functions of strings.

Exact match and token F1 follow SQuAD (Rajpurkar et al., 2016): lower case, no punctuation, no
articles, single spaces; the best value over all accepted answers counts. `contains` only evens out
case, spaces and typographic quotes, because "the right name stands in the reply" is what it asks.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

from kblam._questions import fold

__all__ = [
    "contains",
    "exact_match",
    "normalise",
    "recall_at",
    "token_f1",
    "value_once",
]

_ARTICLES = re.compile(r"\b(a|an|the)\b")
# What SQuAD's own script takes for punctuation; Unicode counts $, +, <, =, > and others of it as
# symbols. Other currencies stay, as they do there.
_PUNCTUATION = frozenset(string.punctuation)


def normalise(text: str) -> str:
    """Normalise an answer as SQuAD does: no case, punctuation, articles or extra spaces.

    An answer that consists of nothing else (the band "The The", the grade "A") keeps what the
    step that would empty it takes away, so that it can still be told from an empty reply.
    """
    folded = fold(text)
    bare = "".join(c for c in folded if not _is_punctuation(c))
    bare = " ".join(bare.split()) or folded
    return " ".join(_ARTICLES.sub(" ", bare).split()) or bare


def _is_punctuation(sign: str) -> bool:
    return sign in _PUNCTUATION or unicodedata.category(sign).startswith("P")


def exact_match(reply: str, answers: Iterable[str]) -> bool:
    """Whether the whole reply is one of the answers, after `normalise`."""
    return normalise(reply) in {normalise(answer) for answer in answers}


def contains(reply: str, answers: Iterable[str]) -> bool:
    """Whether one of the answers occurs in the reply, after `fold`."""
    folded = fold(reply)
    return any(fold(answer) in folded for answer in answers)


def value_once(reply: str, answers: Iterable[str]) -> bool:
    """Whether an answer stands in the reply exactly once and letter by letter.

    Stricter than `contains`: it misses a changed capital and a value that is stuttered.
    """
    return any(reply.count(answer) == 1 for answer in answers)


def token_f1(reply: str, answers: Iterable[str]) -> float:
    """The best harmonic mean of token precision and recall over the answers (SQuAD).

    Returns:
        A number from 0 to 1; 0 where there is no answer to compare with.
    """
    return max((_f1(normalise(reply).split(), normalise(a).split()) for a in answers), default=0.0)


def _f1(reply: Sequence[str], answer: Sequence[str]) -> float:
    common = sum((Counter(reply) & Counter(answer)).values())
    if common == 0:
        return 0.0
    precision, recall = common / len(reply), common / len(answer)
    return 2 * precision * recall / (precision + recall)


def recall_at(rank: int | None, k: int) -> bool:
    """Whether a gold fact is among the first `k`.

    Args:
        rank: The place of the first gold fact, counted from 1; None where none was found.
        k: How many places count.
    """
    return rank is not None and rank <= k
