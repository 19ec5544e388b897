"""Loading weights: quietly, and in the number format asked for."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr

import torch

from kblam.errors import ConfigError

__all__ = ["as_dtype", "quiet_loading"]


def as_dtype(dtype: torch.dtype | str | None) -> torch.dtype | None:
    """A number format of weights, by itself or by its name, as configurations have it.

    Raises:
        ConfigError: There is no floating-point format of that name.
    """
    found = getattr(torch, dtype.removeprefix("torch."), None) if isinstance(dtype, str) else dtype
    if dtype is None or (isinstance(found, torch.dtype) and found.is_floating_point):
        return found
    raise ConfigError(
        "Expected a floating-point number format such as 'bfloat16', 'float16' or 'float32' as "
        f"dtype, got {dtype!r}. None takes the one that suits the device."
    )


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Hide the progress bars and advice that loaders print: they tell nothing a user asked for."""
    from transformers.utils import logging

    bars, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        # The GGUF reader's bar heeds no setting. Errors are raised, not printed.
        with redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
