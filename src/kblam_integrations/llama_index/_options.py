"""Arguments of one call, over those that the model was made with."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from kblam.config import GenerationOptions
from kblam.errors import ConfigError, FactError
from kblam.knowledge import View

__all__ = ["SETTING_NAMES", "checked_view", "merge_options", "saved_view", "stop_strings"]

# Guesses are no option of these: they change no answer.
_OPTION_NAMES = tuple(
    f.name for f in dataclasses.fields(GenerationOptions) if f.name != "speculative"
)
# A form is of one call, the rest are settings of a model too.
SETTING_NAMES = tuple(name for name in _OPTION_NAMES if name != "constraint")

# What other LlamaIndex models call the same thing.
_ALIASES = {"max_tokens": "max_new_tokens"}


def stop_strings(stop: str | Iterable[str] | None) -> tuple[str, ...]:
    """One stop string, several or none, as a tuple."""
    if stop is None:
        return ()
    return (stop,) if isinstance(stop, str) else tuple(stop)


def checked_view(given: object) -> View:
    """What was given as a view, which a filter in other words would silently not be.

    Raises:
        ConfigError: It is no view.
    """
    if isinstance(given, View):
        return given
    raise ConfigError(
        f"Expected a view of the facts, got {type(given).__name__}. Make one with "
        "store.view(...), as in llm.kblam.store.view(team='red')."
    )


def saved_view(given: object) -> View:
    """A view, or what ``View.to_dict`` made of one when a model was saved.

    Raises:
        ConfigError: It is neither.
    """
    try:
        return View.from_dict(given) if isinstance(given, Mapping) else checked_view(given)
    except FactError:
        return checked_view(given)


def merge_options(defaults: GenerationOptions, arguments: Mapping[str, Any]) -> GenerationOptions:
    """The options of one call: ``arguments`` where given, else ``defaults``.

    ``None`` means the default, as elsewhere in LlamaIndex. ``max_tokens`` is
    ``max_new_tokens``.

    Raises:
        ConfigError: An argument is unknown or out of range. It is not dropped silently.
    """
    changes: dict[str, Any] = {}
    for given, value in arguments.items():
        name = _ALIASES.get(given, given)
        if name not in _OPTION_NAMES:
            raise ConfigError(
                f"KBLaMLLM expects the arguments {sorted([*_OPTION_NAMES, *_ALIASES, 'view'])} in "
                f"a call, got {given!r}. Remove it, or set it where the model is made."
            )
        if value is not None:
            changes[name] = stop_strings(value) if name == "stop" else value
    return dataclasses.replace(defaults, **changes)
