"""The words of a refusal, where a model writes it itself."""

from __future__ import annotations

from kblam.config import DEFAULT_REFUSAL

__all__ = ["SPELLINGS", "may_become_refusal", "writes_refusal"]

#: As a trained model writes it: in the words that it was trained on, or shortened.
SPELLINGS = (DEFAULT_REFUSAL, DEFAULT_REFUSAL.replace("I am", "I'm"))


# So much of one, cut off by a limit or a stop string, can be nothing else.
_CERTAIN = len("I'm sorry, I cannot find")


def writes_refusal(text: str) -> bool:
    """Whether a trained model refuses in words, which may be cut off."""
    text = text.strip()
    return len(text) >= _CERTAIN and may_become_refusal(text)


def may_become_refusal(text: str) -> bool:
    """Whether an unfinished text may still turn out to be one."""
    return any(spelling.startswith(text.strip()) for spelling in SPELLINGS)
