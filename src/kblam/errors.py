"""The exceptions of kblam.

Every message says what was expected, what came, and what to do::

    KBLaMError
    ├── ConfigError (ValueError)             a setting out of range or inconsistent
    ├── FactError (ValueError)               a triple with an empty or malformed part
    ├── StoreError                           a knowledge store cannot be used
    │   ├── SourceError                      what facts are read from failed: gone, refused, late
    │   │   └── IncompleteSourceError        a server gave less than it counts
    │   ├── StoreChangedError                somebody else wrote to the store meanwhile
    │   ├── StoreCorruptError                the file is not a store, or is damaged
    │   └── UnsupportedSourceError (TypeError)  no source reads this kind of object
    ├── AdapterError                         an adapter cannot be loaded
    │   └── AdapterMismatchError             it was trained for another model or encoder
    ├── WeightsNotFoundError (FileNotFoundError)  no weights under that name
    ├── PromptTooLongError (ValueError)      the prompt exceeds the model's context
    ├── MissingExtraError (ImportError)      an optional dependency is not installed
    ├── RefusedError                         the facts do not say what was to be filled in
    ├── ConstraintError (ValueError)         a schema or grammar that no answer can be held to
    ├── UnsupportedMessageError (ValueError) a chat message holds what the model cannot read
    └── GenerationTimeoutError (TimeoutError)  an answer took longer than allowed

``StaleFactsWarning`` (UserWarning) is given where a source failed and answers go on from what
the store holds, because the caller chose that.
"""

from __future__ import annotations

import importlib
import re
from types import ModuleType

__all__ = [
    "AdapterError",
    "AdapterMismatchError",
    "ConfigError",
    "ConstraintError",
    "FactError",
    "GenerationTimeoutError",
    "IncompleteSourceError",
    "KBLaMError",
    "MissingExtraError",
    "PromptTooLongError",
    "RefusedError",
    "SourceError",
    "StaleFactsWarning",
    "StoreChangedError",
    "StoreCorruptError",
    "StoreError",
    "UnsupportedMessageError",
    "UnsupportedSourceError",
    "WeightsNotFoundError",
    "require",
    "without_credentials",
]

# User and password of an address; a password may hold an @.
_USERINFO = re.compile(r"(?<=//)[^/\s]*@")


class KBLaMError(Exception):
    """Base class of every error that kblam raises on purpose."""


class ConfigError(KBLaMError, ValueError):
    """A setting is out of range or contradicts another one."""


class FactError(KBLaMError, ValueError):
    """A triple is malformed: a part is empty, of the wrong type, or its id is taken."""


class StoreError(KBLaMError):
    """A knowledge store cannot do what was asked of it."""


class SourceError(StoreError):
    """What facts are read from failed: it is gone, refuses, or took too long."""


class IncompleteSourceError(SourceError):
    """A server gave less than it counts, as those do that cut long results. Its source says so."""


class StoreChangedError(StoreError):
    """Somebody else wrote to a store since the state that a change to it was made for."""


class StoreCorruptError(StoreError):
    """The file is not a knowledge store, or it is damaged."""


class UnsupportedSourceError(StoreError, TypeError):
    """No triple source reads objects of this type."""


class AdapterError(KBLaMError):
    """An adapter cannot be loaded or saved."""


class AdapterMismatchError(AdapterError):
    """The adapter was trained for another base model or another encoder."""


class WeightsNotFoundError(KBLaMError, FileNotFoundError):
    """No weights were found under that name in any of the places looked at."""


class PromptTooLongError(KBLaMError, ValueError):
    """The prompt and the room for the answer exceed the model's context window."""


class MissingExtraError(KBLaMError, ImportError):
    """An optional dependency is not installed."""


class RefusedError(KBLaMError):
    """The facts do not say what a structured answer was to be filled with."""


class ConstraintError(KBLaMError, ValueError):
    """A schema or grammar is malformed, not supported, or has no answer short enough."""


class UnsupportedMessageError(KBLaMError, ValueError):
    """A chat message holds something the model cannot read: an image, a tool's result."""


class GenerationTimeoutError(KBLaMError, TimeoutError):
    """An answer took longer than the caller allowed."""


class StaleFactsWarning(UserWarning):
    """The source of a store cannot be read, and the store answers from what it holds."""


def without_credentials(text: str) -> str:
    """Return a message of others without what stands before the host of an address in it."""
    return _USERINFO.sub("***@", text)


def require(module: str, *, extra: str) -> ModuleType:
    """Import an optional dependency.

    Args:
        module: The module's import name.
        extra: The extra of kblam that installs it.

    Raises:
        MissingExtraError: With the command that installs the extra.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        # A missing dependency *of* the module is somebody else's bug: show it as it is.
        if error.name is None or not module.startswith(error.name):
            raise
        raise MissingExtraError(
            f"This needs the package {module!r}, which is not installed. "
            f'Install it with: pip install "kblam[{extra}]"'
        ) from error
