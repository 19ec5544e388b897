"""Questions about a synthetic world, with the facts that answer them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from random import Random

from kblam.errors import ConfigError
from kblam.training.data._answerable import Answerable
from kblam.training.data._index import TrainingQuestion, WorldIndex
from kblam.training.data._unanswerable import Unanswerable
from kblam.training.data.world import World

__all__ = ["SHARES", "TrainingQuestion", "generate_questions"]

#: The share of each sort of question. The last three have no answer; the first of them, another
#: property of a known entity, is what refusal fails on most.
SHARES: Mapping[str, float] = {
    "single": 0.25, "two": 0.13, "list": 0.07, "three": 0.08, "inverse": 0.02, "compare": 0.02,
    "follow_up": 0.04, "overview": 0.2, "other_property": 0.11, "similar_name": 0.05,
    "unknown_name": 0.03,
}  # fmt: skip
#: Draws in a row that may find no fact before the world is called too small.
_PATIENCE = 2000
#: The share of questions asked after one about something else.
_NEW_TOPIC = 0.06


def generate_questions(
    world: World, num: int, seed: int, *, shares: Mapping[str, float] = SHARES
) -> list[TrainingQuestion]:
    """Ask about a world.

    The same arguments give the same questions.

    Args:
        world: The world to ask about.
        num: How many questions to make.
        seed: The seed of all choices.
        shares: The weight of each sort of question, to ask for some sorts only.

    Raises:
        ConfigError: The number is negative, a sort is unknown, or the world has no fact for the
            sorts asked for.
    """
    if num < 0:
        raise ConfigError(f"num must be 0 or more, got {num}.")
    unknown = sorted(set(shares) - set(SHARES))
    if unknown or not any(weight > 0 for weight in shares.values()):
        raise ConfigError(
            f"shares must give at least one of {', '.join(SHARES)} a weight, got {dict(shares)}."
        )
    rng = Random(f"{world.split}-{seed}")
    index = WorldIndex(world)
    answerable = Answerable(index, rng)
    makers = _makers(answerable, Unanswerable(index, rng))
    sorts, weights = list(shares), list(shares.values())
    questions: list[TrainingQuestion] = []
    misses = 0
    while len(questions) < num:
        made = makers[rng.choices(sorts, weights=weights)[0]]()
        if made is not None:
            if not made.history and rng.random() < _NEW_TOPIC:
                made = replace(made, history=answerable.another())
            questions.append(made)
            misses = 0
        elif (misses := misses + 1) > _PATIENCE:
            raise ConfigError(
                f"A world of {len(world.facts)} facts has none for questions of the sorts "
                f"{', '.join(sorts)}. Make a larger world, or ask for other sorts."
            )
    return questions


def _makers(
    answerable: Answerable, unanswerable: Unanswerable
) -> dict[str, Callable[[], TrainingQuestion | None]]:
    return {
        "single": answerable.single,
        "two": answerable.two,
        "list": answerable.list,
        "three": answerable.three,
        "inverse": answerable.inverse,
        "compare": answerable.compare,
        "follow_up": answerable.follow_up,
        "overview": answerable.overview,
        "other_property": unanswerable.other_property,
        "similar_name": unanswerable.similar_name,
        "unknown_name": unanswerable.unknown_name,
    }
