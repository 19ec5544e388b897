"""The words of a refusal, where a model writes it itself."""

from __future__ import annotations

from kblam.config import DEFAULT_REFUSAL

__all__ = ["may_become_refusal", "writes_refusal"]


def writes_refusal(text: str) -> bool:
    """Whether a trained model refuses in words: those that it was trained on, but for "I'm"."""
    return _spelt_out(text) == DEFAULT_REFUSAL


def may_become_refusal(text: str) -> bool:
    """Whether an unfinished text may still turn out to be one."""
    return DEFAULT_REFUSAL.startswith(_spelt_out(text))


def _spelt_out(text: str) -> str:
    return text.strip().replace("I'm", "I am")
