"""The model that an integration's settings name."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from kblam.errors import ConfigError
from kblam.model import KBLaM

__all__ = ["OF_THE_WEIGHTS", "load"]

#: Settings that say which weights there are, and where; fixed once a model is loaded.
OF_THE_WEIGHTS = ("adapter", "encoder", "tokenizer", "device", "dtype")
_OF_ANSWERS = ("grounding", "refusal", "refusal_threshold")


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
    answers = {name: getattr(settings, name) for name in _OF_ANSWERS if name in given}
    if not isinstance(settings.model, KBLaM):
        weights = {name: getattr(settings, name) for name in OF_THE_WEIGHTS}
        return KBLaM.from_pretrained(settings.model, **weights, **answers)
    if unused := [name for name in OF_THE_WEIGHTS if name in given]:
        raise ConfigError(
            f"Expected only settings of replies beside a loaded KBLaM, got {unused}: they "
            "were chosen when it was loaded. Leave them out, or give the model's name."
        )
    return settings.model.with_options(**answers)
