"""Synthetic facts and questions that teach a model to read facts, made by code.

Nothing here comes from an evaluation set: names, words and places are those of open word lists
(Faker, GeoNames, Open English WordNet), and relations are the project's own.
"""

from __future__ import annotations

from kblam.training.data._sentences import told
from kblam.training.data._tables import is_verb
from kblam.training.data.askings import Asking, StoredForms, generate_askings
from kblam.training.data.instructions import general_instructions
from kblam.training.data.preview import preview
from kblam.training.data.questions import SHARES, TrainingQuestion, generate_questions
from kblam.training.data.world import World, generate_world

__all__ = [
    "SHARES",
    "Asking",
    "StoredForms",
    "TrainingQuestion",
    "World",
    "general_instructions",
    "generate_askings",
    "generate_questions",
    "generate_world",
    "is_verb",
    "preview",
    "told",
]
