"""Requests that name an entity and no property: for whatever is known of it."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from kblam.training.data._asking import refer
from kblam.training.data._tables import Relation

__all__ = ["ask_overview"]

_OVERVIEWS = (
    "Tell me about {e}.", "Describe {e}.", "What do you know about {e}?", "Summarise {e}.",
    "What can you tell me about {e}?", "Give me an overview of {e}.", "Tell me all about {e}.",
    "What is known about {e}?", "Tell me something about {e}.", "Summarise what is known of {e}.",
    "Tell me everything you know about {e}.", "Give me all the facts about {e}.",
    "What information do you have on {e}?", "List everything that is known of {e}.",
    "What facts are there about {e}?", "What does the knowledge base say about {e}?",
    "What is on record about {e}?", "Write a short profile of {e}.", "Give me the details of {e}.",
    "I need the details on {e}.", "Show me the entry for {e}.", "Show me everything about {e}.",
    "Introduce {e} to me.", "Look up {e}.", "Tell me more about {e}.", "Brief me on {e}.",
    "I would like to know more about {e}.", "Do you know anything about {e}?",
    "What should I know about {e}?", "Who or what is {e}?", "{e}?", "{e}", "Summarize {e} for me.",
    "What do our records say about {e}?", "Fill in a form about {e}.", "Describe {e} as JSON.",
    "Extract what is known of {e}.", "Fill in the fields for {e}.", "Make a card for {e}.",
    "Please list the properties of {e} with their values.", "Name all facts about {e}.",
    "Pull up what we have on {e}.", "Give me a summary of {e}.", "What have you got on {e}?",
)  # fmt: skip


def ask_overview(rng: Random, about: Mapping[str, Relation]) -> str:
    """Return a request for all that is known of some entities.

    Args:
        rng: The source of chance.
        about: The name of each, and one of its relations.
    """
    # The plain forms come most often, as they do in life.
    index = min(rng.randrange(len(_OVERVIEWS)), rng.randrange(len(_OVERVIEWS)))
    who = " and ".join(refer(relation, name) for name, relation in about.items())
    text = _OVERVIEWS[index].replace("{e}", who)
    return text[:1].upper() + text[1:]
