"""Pairs of a question without its names and of a property, to learn which is asked for.

Every fact has a value of its relation, and now and then a verb that leaves open what it tells.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random

import numpy as np
import torch
from torch import Tensor

from kblam.encoding import QuestionReader
from kblam.encoding.evidence import without_names
from kblam.knowledge import TextEmbedder, verbalise
from kblam.training.corpus import cached_embeddings, embed, encoder_identity
from kblam.training.data import Asking, generate_askings, is_verb
from kblam.training.reading import Read, by_layers, by_vectors

__all__ = ["MatchingPairs", "build_pairs"]

_CANDIDATES = 32
# Of the wrong ones, those drawn from the few most like the right one.
_HARD = 6
_NEAREST = 12
_USUAL = 0.7
# Verbs that leave open what they tell, and how often one stands for any other property.
_VAGUE = (
    "related to", "linked to", "associated with", "belongs to", "connected with", "includes",
    "goes with", "consists of", "stands for",
)  # fmt: skip
_VAGUE_SHARE = 0.1


class MatchingPairs:
    """Questions without names, and the properties that their entities may have.

    Args:
        askings: N questions, the relations they ask for, and those that tell of it.
        questions: What is read of them, a text each.
        read: Embeds such texts, (B, E).
        trained: Layers of the encoder that it reads with and that are trained, if there are such.
        names: Of P stored properties, the relation and the text; those of no relation are vague.
        properties: Embedded, (P, E).
        told: Of V values, the relation.
        values: Embedded, (V, E).
    """

    def __init__(
        self,
        askings: Sequence[Asking],
        questions: Sequence[str],
        read: Read,
        trained: QuestionReader | None,
        names: Sequence[tuple[str, str]],
        properties: Tensor,
        told: Sequence[str],
        values: Tensor,
    ) -> None:
        self.questions = questions
        self.trained = trained
        self._read = read
        self.properties = properties
        self.values = values
        self._askings = askings
        self._names = _places([relation for relation, _ in names])
        self._vague = self._names.pop("")
        self._verbs = torch.tensor([is_verb(text) for _, text in names])
        self._values = _places(told)
        usual = {relation: properties[places[0]] for relation, places in self._names.items()}
        self._nearest = [_nearest(asking, usual) for asking in askings]

    def __len__(self) -> int:
        return len(self._askings)

    def draw(self, count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Questions, and facts of which the first is asked for and the others are not.

        Returns:
            Embedded questions (B, E), properties (B, K, E), which of them are verbs (B, K),
            and embedded values (B, K, E).
        """
        chosen = rng.integers(0, len(self._askings), count)
        random = Random(int(rng.integers(2**32)))
        places, values = [], []
        for place in chosen.tolist():
            asking = self._askings[place]
            right = random.choice(asking.wanted)
            wrong = random.choices(self._nearest[place], k=_HARD)
            wrong += random.choices(asking.others, k=_CANDIDATES - 1 - _HARD)
            usual = self._names[right][:1] if random.random() < _USUAL else self._names[right]
            row = [usual, *(self._names[other] for other in wrong)]
            row = [self._vague if random.random() < _VAGUE_SHARE else names for names in row]
            places.append([random.choice(names) for names in row])
            values.append([random.choice(self._values[one]) for one in (right, *wrong)])
        found = torch.tensor(places)
        return (
            self._read([self.questions[place] for place in chosen.tolist()]),
            self.properties[found],
            self._verbs[found],
            self.values[torch.tensor(values)],
        )


def build_pairs(
    encoder: TextEmbedder,
    *,
    seed: int,
    cache: Path,
    each: int,
    reader: QuestionReader | None = None,
) -> MatchingPairs:
    """Ask for every relation of training in many ways, and embed that or read it.

    Args:
        encoder: Embeds.
        seed: Of the ways of asking.
        cache: File for the embeddings.
        each: Questions for each relation.
        reader: Layers of the encoder that are trained to read the questions.
    """
    askings, stored = generate_askings(seed, each)
    questions = [without_names(asking.question, asking.names) for asking in askings]
    names = [
        (relation, text)
        for relation, known in stored.items()
        for text in dict.fromkeys(verbalise(name) for name in known.names)
    ] + [("", text) for text in _VAGUE]
    texts = [text for _, text in names]
    told = [(relation, value) for relation, known in stored.items() for value in known.values]
    values = [value for _, value in told]

    def make() -> dict[str, Tensor]:
        made = {
            "properties": embed(encoder, texts, "properties"),
            "values": embed(encoder, values, "values"),
        }
        # What layers in training read is embedded in each step.
        if reader is None:
            made["questions"] = embed(encoder, questions, "ways of asking")
        return made

    kind = "read" if reader is not None else "embedded"
    made_of = f"{_digest(questions + texts + values)}-{kind}-{encoder_identity(encoder)}"
    tensors = cached_embeddings(cache, made_of, make)
    if reader is None:
        read = by_vectors(questions, tensors["questions"])
    else:
        read = by_layers(encoder, reader)
    return MatchingPairs(
        askings,
        questions,
        read,
        reader,
        names,
        tensors["properties"],
        [relation for relation, _ in told],
        tensors["values"],
    )


def _places(names: Sequence[str]) -> dict[str, list[int]]:
    """Where each name stands."""
    found: dict[str, list[int]] = defaultdict(list)
    for place, name in enumerate(names):
        found[name].append(place)
    return found


def _nearest(asking: Asking, usual: Mapping[str, Tensor]) -> list[str]:
    """The wrong relations whose names are most like the first one asked for."""
    right = usual[asking.wanted[0]]
    nearness = torch.stack([usual[other] for other in asking.others]) @ right
    best = nearness.topk(min(_NEAREST, len(asking.others))).indices
    return [asking.others[place] for place in best.tolist()]


def _digest(texts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()
