"""Pairs of a question without its names and of a property, to learn which is asked for.

Every fact has a value of its relation, and now and then a verb that leaves open what it tells.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
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

__all__ = ["Group", "MatchingPairs", "build_pairs"]

# Relations that are told apart together: a few by chance, each with some of those most like it.
_GROUP = 64
_CLUSTER = 8
_NEAREST = 16
_USUAL = 0.7
# Verbs that leave open what they tell, and how often one stands for any other property.
_VAGUE = (
    "related to", "linked to", "associated with", "belongs to", "connected with", "includes",
    "goes with", "consists of", "stands for",
)  # fmt: skip
_VAGUE_SHARE = 0.1
# How often whatever is known is asked for instead of the property.
_OVERVIEW_SHARE = 0.03


@dataclass(frozen=True)
class Group:
    """N questions, each for another relation of one kind of entity, and a fact of each relation.

    A few ask for whatever is known instead.

    Attributes:
        questions: Without names, read, (N, E).
        properties: Of the facts, read, (N, E).
        verbs: Which of them are verbs, (N,).
        values: Of the facts, embedded, (N, E).
        right: Which facts each question asks for, (N, N); the one at its own place, at least.
        wrong: Which facts tell nothing of it, (N, N); some are neither.
    """

    questions: Tensor
    properties: Tensor
    verbs: Tensor
    values: Tensor
    right: Tensor
    wrong: Tensor

    def to(self, device: torch.device) -> Group:
        """The same on a device."""
        return Group(**{name: part.to(device) for name, part in vars(self).items()})


class MatchingPairs:
    """Questions without names, and the properties that their entities may have.

    Args:
        askings: N questions, the relations they ask for, and those that tell nothing of it.
        questions: What is read of them, a text each.
        read: Reads questions and properties, B texts, (B, E).
        trained: Layers of the encoder that it reads with and that are trained, if there are such.
        names: Of P stored properties, the relation and the text; those of no relation are vague.
        usual: Of the first property of each relation, embedded, (R, E), by the relation.
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
        usual: Mapping[str, Tensor],
        told: Sequence[str],
        values: Tensor,
    ) -> None:
        self.questions = questions
        self.trained = trained
        self.values = values
        self._read = read
        self._askings = askings
        self._texts = [text for _, text in names]
        self._names = _places([relation for relation, _ in names])
        self._vague = self._names.pop("")
        self._values = _places(told)
        self._overviews: dict[str, list[int]] = defaultdict(list)
        self._asking_for: dict[str, list[int]] = defaultdict(list)
        for place, asking in enumerate(askings):
            # Nothing else than what is asked for: all is.
            if asking.others:
                self._asking_for[asking.wanted[0]].append(place)
            else:
                self._overviews[_kind(asking.wanted[0])].append(place)
        self._kinds = [
            (kind, torch.stack([usual[relation] for relation in kind]))
            for kind in _kinds(self._asking_for)
        ]
        # As often as the kind is asked about.
        self._weights = [sum(len(self._asking_for[one]) for one in kind) for kind, _ in self._kinds]

    def __len__(self) -> int:
        return len(self._askings)

    def draw(self, count: int, rng: np.random.Generator) -> list[Group]:
        """Groups of questions and facts, of a kind of entity each, as often as it is asked about.

        Args:
            count: How many.
            rng: Source of randomness.
        """
        random = Random(int(rng.integers(2**32)))
        drawn = []
        for kind, usual in random.choices(self._kinds, self._weights, k=count):
            relations = [kind[place] for place in _alike(usual, random)]
            askings = [self._asking(one, random) for one in relations]
            facts = [self._fact(one, random) for one in relations]
            drawn.append((relations, askings, facts))
        texts = [self.questions[one] for _, askings, _ in drawn for one in askings]
        texts += [self._texts[name] for _, _, facts in drawn for name, _ in facts]
        read = iter(torch.split(self._read(texts), [len(one) for one, *_ in drawn] * 2))
        asked, told = [next(read) for _ in drawn], [next(read) for _ in drawn]
        return [
            self._group(*found, questions, properties)
            for found, questions, properties in zip(drawn, asked, told, strict=True)
        ]

    def _asking(self, relation: str, random: Random) -> int:
        """Place of a question that a relation answers."""
        if random.random() < _OVERVIEW_SHARE:
            return random.choice(self._overviews[_kind(relation)])
        return random.choice(self._asking_for[relation])

    def _fact(self, relation: str, random: Random) -> tuple[int, int]:
        """Places of a stored property and of a value of a relation."""
        names = self._names[relation]
        if random.random() < _VAGUE_SHARE:
            names = self._vague
        elif random.random() < _USUAL:
            names = names[:1]
        return random.choice(names), random.choice(self._values[relation])

    def _group(
        self,
        relations: Sequence[str],
        askings: Sequence[int],
        facts: Sequence[tuple[int, int]],
        questions: Tensor,
        properties: Tensor,
    ) -> Group:
        asked = [self._askings[one] for one in askings]
        wanted = [frozenset(asking.wanted) for asking in asked]
        others = [frozenset(asking.others) for asking in asked]
        return Group(
            questions,
            properties,
            torch.tensor([is_verb(self._texts[name]) for name, _ in facts]),
            self.values[torch.tensor([value for _, value in facts])],
            torch.tensor([[one in right for one in relations] for right in wanted]),
            torch.tensor([[one in wrong for one in relations] for wrong in others]),
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
        reader: Layers of the encoder that are trained to read questions and properties.
    """
    askings, stored = generate_askings(seed, each)
    questions = [without_names(asking.question, asking.names) for asking in askings]
    names = [
        (relation, text)
        for relation, known in stored.items()
        for text in dict.fromkeys(verbalise(name) for name in known.names)
    ] + [("", text) for text in _VAGUE]
    texts = list(dict.fromkeys(text for _, text in names))
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
        vectors = torch.cat([tensors["questions"], tensors["properties"]])
        read = by_vectors([*questions, *texts], vectors)
    else:
        read = by_layers(encoder, reader)
    places = {text: place for place, text in enumerate(texts)}
    usual = {
        relation: tensors["properties"][places[verbalise(known.names[0])]]
        for relation, known in stored.items()
    }
    return MatchingPairs(
        askings,
        questions,
        read,
        reader,
        names,
        usual,
        [relation for relation, _ in told],
        tensors["values"],
    )


def _places(names: Sequence[str]) -> dict[str, list[int]]:
    """Where each name stands."""
    found: dict[str, list[int]] = defaultdict(list)
    for place, name in enumerate(names):
        found[name].append(place)
    return found


def _kinds(relations: Iterable[str]) -> list[list[str]]:
    """Relations by the kind of entity that has them."""
    found: dict[str, list[str]] = defaultdict(list)
    for relation in relations:
        found[_kind(relation)].append(relation)
    return list(found.values())


def _kind(relation: str) -> str:
    """Of the entities that have a relation, from its id."""
    return relation.partition("/")[0]


def _alike(usual: Tensor, random: Random) -> list[int]:
    """Draw relations of a kind: a few by chance, and beside each some of those most like it.

    Args:
        usual: How each is called, embedded, (R, E).
        random: Source of randomness.

    Returns:
        At most ``_GROUP`` places of R.
    """
    chosen: dict[int, None] = {}
    size = min(_GROUP, len(usual))
    while len(chosen) < size:
        first = random.randrange(len(usual))
        best = (usual @ usual[first]).topk(min(_NEAREST, len(usual))).indices.tolist()
        beside = [place for place in best if place != first]
        near = random.sample(beside, min(_CLUSTER - 1, len(beside)))
        chosen.update(dict.fromkeys([first, *near]))
    return list(chosen)[:size]


def _digest(texts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()
