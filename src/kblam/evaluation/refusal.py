"""Which replies count as refusals.

A model with facts attached refuses with one fixed sentence and says so in its answer. The baselines
refuse in words of their own, so a short list of openings and phrases is read as well. It is applied
to every method alike, and only to the first sentence: a reply that answers first and then hedges is
an answer.
"""

from __future__ import annotations

import re

from kblam._questions import fold
from kblam.evaluation.metrics import normalise

__all__ = ["REFUSAL_OPENINGS", "REFUSAL_PHRASES", "REFUSAL_WORDS", "is_refusal"]

# A reply that begins with one of these refuses.
REFUSAL_OPENINGS: tuple[str, ...] = (
    "i am not able",
    "i am not aware",
    "i am not sure",
    "i am sorry",
    "i am unable",
    "i can not",
    "i cannot",
    "i could not",
    "i did not find",
    "i do not have",
    "i do not know",
    "it is not known",
    "it is unknown",
    "n/a",
    "none of the facts",
    "not enough information",
    "there is no fact",
    "there is no information",
    "there is no mention",
)
# Names begin with these too ("Unknown Pleasures", "Sorry Day"): they refuse where a sign or the end
# follows, or one of the words given here.
REFUSAL_WORDS: dict[str, tuple[str, ...]] = {
    "no answer": ("can", "could", "in", "is", "was"),
    "no information": ("about", "can", "could", "in", "is", "on", "was"),
    "sorry": ("but", "i", "that", "the", "there"),
    "unanswerable": (),
    "unfortunately": ("i", "it", "no", "that", "the", "there"),
    "unknown": (),
}
# A first sentence that has one of these refuses, whatever its subject ("the fact", "the text").
REFUSAL_PHRASES: tuple[str, ...] = (
    "cannot be answered",
    "cannot be determined",
    "do not contain",
    "do not mention",
    "do not provide",
    "do not say",
    "do not specify",
    "do not state",
    "does not contain",
    "does not mention",
    "does not provide",
    "does not say",
    "does not specify",
    "does not state",
    "is no information",
    "not enough information",
    "not listed in",
    "not mentioned",
    "not provided in",
    "not specified",
    "not stated",
)
_CONTRACTIONS = (
    (re.compile(r"\bi'm\b"), "i am"),
    (re.compile(r"\b(it|there)'s\b"), r"\1 is"),
    (re.compile(r"\bcan't\b"), "cannot"),
    (re.compile(r"n't\b"), " not"),
)
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)")
_QUOTES = "\"' "


def _opening(words: str, following: tuple[str, ...]) -> str:
    after = "".join(rf"|\s{word}\b" for word in following)
    return rf"{words}(?=$|\s*[,;:.()]|\s-\s{after})"


_NAMELIKE = re.compile("|".join(_opening(*listed) for listed in REFUSAL_WORDS.items()))


def is_refusal(reply: str, refusal: str | None = None, *, flagged: bool = False) -> bool:
    """Whether a reply declines to answer.

    Args:
        reply: The reply's text.
        refusal: The sentence that the model was told to refuse with, if any.
        flagged: Whether the model itself reports a refusal.

    Returns:
        True where the model reports it, where the reply starts with the refusal sentence, or where
        its first sentence is worded as a refusal (`REFUSAL_OPENINGS`, `REFUSAL_WORDS`,
        `REFUSAL_PHRASES`).
    """
    if flagged:
        return True
    if refusal is not None and normalise(reply).startswith(normalise(refusal)):
        return True
    first = _first_sentence(fold(reply))
    opened = first.startswith(REFUSAL_OPENINGS) or _NAMELIKE.match(first) is not None
    return opened or any(phrase in first for phrase in REFUSAL_PHRASES)


def _first_sentence(text: str) -> str:
    for pattern, plain in _CONTRACTIONS:
        text = pattern.sub(plain, text)
    return _SENTENCE_END.split(text.strip(_QUOTES), maxsplit=1)[0].strip(_QUOTES)
