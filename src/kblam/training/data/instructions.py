"""Instructions that have nothing to do with facts: what the base model must keep doing."""

from __future__ import annotations

from random import Random

from kblam.errors import ConfigError
from kblam.training.data._tables import load_instructions
from kblam.training.data._templates import fill

__all__ = ["general_instructions"]


def general_instructions(num: int, seed: int) -> list[str]:
    """Return instructions that no fact of a knowledge base answers.

    The same arguments give the same instructions.

    Args:
        num: How many to make.
        seed: The seed of all choices.

    Raises:
        ConfigError: The number is negative.
    """
    if num < 0:
        raise ConfigError(f"num must be 0 or more, got {num}.")
    rng = Random(f"instructions-{seed}")
    templates = load_instructions()
    return [fill(rng, rng.choice(templates)) for _ in range(num)]
