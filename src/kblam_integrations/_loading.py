"""The model that an integration's settings name."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from kblam.errors import ConfigError
from kblam.model import KBLaM

__all__ = ["OF_ANSWERS", "OF_THE_WEIGHTS", "check_fixed", "load"]

#: Settings that say which weights there are, and where; fixed once a model is loaded.
OF_THE_WEIGHTS = ("adapter", "encoder", "tokenizer", "device", "dtype")
#: Settings that a loaded :class:`KBLaM` has of its own.
OF_ANSWERS = ("grounding", "refusal", "refusal_threshold")
# What is read once, when a model is made: a later value would be shown and not be used.
_FIXED = frozenset({"kb", "model", *OF_THE_WEIGHTS, *OF_ANSWERS})


def load(settings: Any, given: Collection[str]) -> KBLaM:
    """Load what settings name, or take the model that they hold.

    Args:
        settings: Has ``model`` (a name, a folder, a loaded base model or a :class:`KBLaM`), the
            settings of the weights, and those of answers if it has any.
        given: The names of those that were set by somebody.

    Returns:
        The model; of a caller's own one, with its facts and view, another that shares its weights.

    Raises:
        ConfigError: The model is a KBLaM, and settings of its weights are given.
        WeightsNotFoundError: The model, the adapter or the encoder is not found.
        AdapterMismatchError: The adapter was trained for another model or encoder.
    """
    answers = {name: getattr(settings, name) for name in OF_ANSWERS if name in given}
    if not isinstance(settings.model, KBLaM):
        weights = {name: getattr(settings, name) for name in OF_THE_WEIGHTS}
        return KBLaM.from_pretrained(settings.model, **weights, **answers)
    if unused := [name for name in OF_THE_WEIGHTS if name in given]:
        raise ConfigError(
            f"Expected only settings of replies beside a loaded KBLaM, got {unused}: they "
            "were chosen when it was loaded. Leave them out, or give the model's name."
        )
    return settings.model.with_options(**answers)


def check_fixed(changes: Iterable[str], *, instead: str) -> None:
    """Let nothing of a loaded model be changed that it would go on without.

    Args:
        changes: The names of the settings that are to be changed in place.
        instead: How to make a model with other ones.

    Raises:
        ConfigError: Weights, facts or the way of answering are among them.
    """
    if fixed := sorted(_FIXED.intersection(changes)):
        raise ConfigError(
            f"Expected {', '.join(fixed)} to stay as the model was made with, got another value. "
            f"Make another model, which shares the weights: {instead}."
        )
