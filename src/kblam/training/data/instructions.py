"""Instructions that have nothing to do with facts: what the base model must keep doing."""

from __future__ import annotations

import zlib
from random import Random
from typing import Literal

from kblam.errors import ConfigError
from kblam.training.data._tables import load_instructions
from kblam.training.data._templates import fill

__all__ = ["general_instructions"]


#: One template in so many is held back for validation.
_HELD_BACK = 8


def general_instructions(
    num: int, seed: int, *, split: Literal["train", "validation"] = "train"
) -> list[str]:
    """Return instructions that no fact of a knowledge base answers.

    The same arguments give the same instructions.

    Args:
        num: How many to make.
        seed: The seed of all choices.
        split: ``"train"`` or ``"validation"``, which share no template.

    Raises:
        ConfigError: The number is negative.
    """
    if num < 0:
        raise ConfigError(f"num must be 0 or more, got {num}.")
    rng = Random(f"instructions-{seed}")
    templates = [
        template
        for template in load_instructions()
        if (zlib.crc32(template.encode()) % _HELD_BACK == 0) == (split == "validation")
    ]
    return [fill(rng, rng.choice(templates)) for _ in range(num)]
