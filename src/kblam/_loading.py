"""Loading a decoder: from wherever its weights are, in the number format asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from kblam._gguf import converted
from kblam._quiet import quiet_loading
from kblam.errors import ConfigError
from kblam.weights import resolve_base_model

__all__ = ["as_dtype", "load_base_model", "load_tokenizer"]


def load_base_model(
    name: str | Path, *, device: torch.device, dtype: torch.dtype
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a decoder and its tokenizer from wherever its weights are.

    Raises:
        WeightsNotFoundError: They are nowhere to be found.
    """
    source = _source_of(name)
    with quiet_loading():
        tokenizer = AutoTokenizer.from_pretrained(**source)
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(**source, dtype=dtype)
    placed: Any = model.to(device)  # type: ignore[arg-type]
    return placed.eval().requires_grad_(False), tokenizer


def load_tokenizer(name: str | Path) -> PreTrainedTokenizerBase:
    """Load a decoder's tokenizer alone, as :func:`load_base_model` does."""
    source = _source_of(name)
    with quiet_loading():
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(**source)
    return tokenizer


def _source_of(name: str | Path) -> dict[str, str]:
    """What ``from_pretrained`` takes for a decoder: a folder, and where need be a GGUF file."""
    location = resolve_base_model(name)
    folder, file = location.path, location.gguf_file
    if file is None:
        return {"pretrained_model_name_or_path": folder}
    if (copy := converted(Path(folder, file))) is not None:
        return {"pretrained_model_name_or_path": str(copy)}
    return {"pretrained_model_name_or_path": folder, "gguf_file": file}


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
