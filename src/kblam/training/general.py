"""General prompts with the base model's own continuations: what must not change."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from kblam._digest import values_digest
from kblam._engine import Engine
from kblam._prompt import pad_prompts, tokenize
from kblam.training._files import replacing
from kblam.training.batches import Example, text_example
from kblam.training.data import general_instructions

__all__ = ["General", "general_prompts"]

_log = logging.getLogger(__name__)
_NEW_TOKENS = 32
_BATCH = 32


@dataclass(frozen=True)
class General:
    """A general prompt.

    Attributes:
        text: As the encoder reads it.
        example: Its tokens, continued by the base.
    """

    text: str
    example: Example


@torch.no_grad()
def general_prompts(
    engine: Engine, count: int, seed: int, cache: Path, *, base: str
) -> list[General]:
    """Generate prompts and let the base continue them, or read what was cached.

    Args:
        engine: The base, with no facts attached.
        count: How many.
        seed: Of the prompts.
        cache: A JSON file.
        base: Digest of the base's weights: under one name there may be others by now.
    """
    texts = general_instructions(count, seed)
    prompts = [tokenize(engine.tokenizer, [{"role": "user", "content": text}]) for text in texts]
    continuations: list[list[int]] = []
    made_of = values_digest([base, _NEW_TOKENS, prompts])
    held = _held(cache)
    if held.get("made_of") == made_of:
        continuations = held["continuations"]
    else:
        for start in tqdm(range(0, count, _BATCH), desc="general prompts", unit="batch"):
            padded = pad_prompts(
                prompts[start : start + _BATCH],
                engine.pad_token,
                engine.context,
                engine.model.device,
            )
            generate: Any = engine.model.generate
            output = generate(
                input_ids=padded.input_ids,
                attention_mask=padded.attention_mask,
                max_new_tokens=_NEW_TOKENS,
                do_sample=False,
                pad_token_id=engine.pad_token,
            )
            written = output[:, padded.input_ids.shape[1] :].tolist()
            continuations += map(engine.up_to_end, written)
        with replacing(cache) as path:
            path.write_text(json.dumps({"made_of": made_of, "continuations": continuations}))
    return [
        General(text, text_example(prompt, continuation))
        for text, prompt, continuation in zip(texts, prompts, continuations, strict=True)
    ]


def _held(cache: Path) -> dict[str, Any]:
    """What is cached, nothing if that is damaged."""
    try:
        held = json.loads(cache.read_text()) if cache.is_file() else {}
    except ValueError as error:
        _log.warning("The file %s is damaged: %s.", cache, error)
        return {}
    return held if isinstance(held, dict) else {}
