"""The engines in memory: found again by what they are made of, or loaded."""

from __future__ import annotations

import json
import threading
import weakref
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from kblam import adapter as adapters
from kblam._engine import Engine
from kblam._loading import load_base_model
from kblam.errors import ConfigError
from kblam.knowledge import TextEmbedder

__all__ = ["load_engine"]

# What an engine was made of: base, adapter and encoder, and the tokenizer given, if any. An engine
# keeps these, so that no id is of anything else while it lives.
_Made = tuple[tuple[Any, ...], PreTrainedTokenizerBase | None]
_ENGINES: weakref.WeakKeyDictionary[Engine, _Made] = weakref.WeakKeyDictionary()
_ENGINES_LOCK = threading.Lock()


def load_engine(
    base_model: str | Path | PreTrainedModel,
    *,
    adapter: str | Path | None,
    encoder: str | Path | TextEmbedder | None,
    tokenizer: PreTrainedTokenizerBase | None,
    device: str | torch.device | None,
    dtype: torch.dtype | None,
) -> Engine:
    """Load weights, or find them in memory.

    Raises:
        ConfigError: A model was given without its tokenizer, or has knowledge attached.
        WeightsNotFoundError: No weights under that name.
        AdapterError: The adapter cannot be used.
    """
    base_model = _inside_peft(base_model)
    where = torch.device(device) if device is not None else _best_device()
    kind = dtype if dtype is not None else _best_dtype(where)
    base = (
        id(base_model)
        if isinstance(base_model, PreTrainedModel)
        else (_place(base_model), str(where), kind)
    )
    made_of = (base, None if adapter is None else adapters.identity(adapter), _place(encoder))
    with _ENGINES_LOCK:
        engine = _found(made_of, tokenizer)
        if engine is None:
            # What is made in inference mode could neither be trained nor be told to have changed.
            with torch.inference_mode(False):
                engine = _loaded(base_model, adapter, encoder, tokenizer, where, kind)
            _ENGINES[engine] = made_of, tokenizer
        return engine


def _found(made_of: tuple[Any, ...], tokenizer: PreTrainedTokenizerBase | None) -> Engine | None:
    for engine, (others, other) in _ENGINES.items():
        if others == made_of and _are_equal(other, tokenizer):
            return engine
    return None


def _loaded(
    base_model: str | Path | PreTrainedModel,
    adapter: str | Path | None,
    encoder: str | Path | TextEmbedder | None,
    tokenizer: PreTrainedTokenizerBase | None,
    device: torch.device,
    dtype: torch.dtype,
) -> Engine:
    if not isinstance(base_model, PreTrainedModel):
        model, own = load_base_model(base_model, device=device, dtype=dtype)
        return Engine(model, tokenizer or own, str(base_model), adapter, encoder)
    if tokenizer is None:
        raise ConfigError("Expected a tokenizer beside a loaded model. Give tokenizer=...")
    name = base_model.name_or_path or type(base_model).__name__
    return Engine(base_model, tokenizer, name, adapter, encoder)


def _inside_peft(base_model: Any) -> Any:
    """The Transformers model inside a ``PeftModel``: PEFT's layers are in its modules."""
    inner = getattr(base_model, "get_base_model", None)
    if inner is None:
        return base_model
    if base_model.active_peft_config.is_prompt_learning:
        raise ConfigError(
            "Expected a base model or one whose PEFT adapter lives in its layers, got prompt "
            "learning, which a knowledge adapter cannot be combined with. Use LoRA, say."
        )
    return inner()


def _place(given: str | Path | TextEmbedder | None) -> object:
    """What a folder, a file or a name means wherever it is said; the id of what is neither."""
    if given is None:
        return None
    if not isinstance(given, (str, Path)):
        return id(given)
    path = Path(given).expanduser()
    return path.resolve() if path.exists() else str(given)


def _are_equal(one: PreTrainedTokenizerBase | None, two: PreTrainedTokenizerBase | None) -> bool:
    """Whether tokenizers read and write alike; those that do not tell are equal to themselves."""
    if one is two or one is None or two is None:
        return one is two
    rules = _rules(one)
    return rules is not None and rules == _rules(two)


def _rules(tokenizer: PreTrainedTokenizerBase) -> tuple[Any, ...] | None:
    """All that a tokenizer does, or None where it is not written down."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return None
    # Calls set how long texts may be, and how they are filled up.
    return (
        type(tokenizer),
        {**json.loads(backend.to_str()), "truncation": None, "padding": None},
        tokenizer.special_tokens_map,
        tokenizer.chat_template,
        tokenizer.clean_up_tokenization_spaces,
    )


def _best_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _best_dtype(device: torch.device) -> torch.dtype:
    # On a CPU one token at a time is bound by memory but measured faster in float32.
    return torch.bfloat16 if device.type == "cuda" else torch.float32
