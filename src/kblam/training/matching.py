"""Judging whether a property is the one asked for, taught by itself.

The questions of a world show a fact of the right property beside a few of the same entity, one
question at a time: too rarely for the judgement to learn that a mother is no father. Neither
needs an entity, so pairs of questions without their names and of properties are shown by
themselves, some hundred times as many for the same work. Beside them stand strangers, the right
property of somebody else, who is not named or only in part: that judgement lives in the same
numbers. Every fact has a value of its relation, and now and then a verb that leaves open what it
tells.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from kblam.decoder.selection_heads import MatchHead
from kblam.encoding import QuestionReader
from kblam.encoding.evidence import NUM_EXCESS, NUM_NAMED, Evidence, without_names
from kblam.knowledge import TextEmbedder, verbalise
from kblam.training.corpus import cached_embeddings, embed, encoder_identity
from kblam.training.data import Asking, generate_askings, is_verb
from kblam.training.reading import Read, by_layers, by_vectors

__all__ = [
    "MatchingPairs",
    "build_pairs",
    "matching_loss",
    "matching_steps",
    "train_matching",
]

_CANDIDATES = 8
# Of the wrong ones, those drawn from the few most like the right one.
_HARD = 3
_NEAREST = 4
# Questions a step, and steps for each of the first stage: where an encoder's layers are trained
# too, a question takes some ten times as long.
_BATCH = {False: 256, True: 128}
_STEPS = {False: 4, True: 2}
# Of the encoder's layers, as a share of the judgement's own, which starts from nothing.
_READER_RATE = 0.3
_USUAL = 0.7
# Right answers are one in eight: they count for three.
_RIGHT_WEIGHT = 3.0
_RANKING_WEIGHT = 0.5
_PARTLY_NAMED = 0.1
_SIMILARITY = (0.5, 0.97)
# Of another entity, whose property is the right one.
_STRANGERS = 3
_STRANGE_SIMILARITY = (0.2, 0.9)
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


def matching_loss(
    match: MatchHead, pairs: MatchingPairs, count: int, rng: np.random.Generator
) -> Tensor:
    """Cross-entropy of whether each fact is asked for, and of which one is.

    The entity is mostly named whole, so that the property alone is to be judged, and the
    similarity is any: an entity's facts are all alike to the encoder. The last facts have the
    right property and another entity.

    Args:
        match: In training.
        pairs: Drawn from.
        count: Questions.
        rng: Source of randomness.
    """
    device = match.inner.device
    questions, *facts = (part.to(device) for part in pairs.draw(count, rng))
    strangers = [0] * _STRANGERS
    properties, verbs, values = (torch.cat([part, part[:, strangers]], 1) for part in facts)
    named, excess, similarity = (torch.from_numpy(part).to(device) for part in _names(count, rng))
    scores = match(Evidence(named, excess, questions, properties, verbs), similarity, values)
    right = torch.zeros_like(scores)
    right[:, 0] = 1.0
    each = F.binary_cross_entropy_with_logits(
        scores, right, weight=1.0 + (_RIGHT_WEIGHT - 1.0) * right
    )
    first = torch.zeros(count, dtype=torch.long, device=device)
    return each + _RANKING_WEIGHT * F.cross_entropy(scores, first)


def _names(
    count: int, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """What the words tell of entities: the one asked about, and strangers in the last places.

    Returns:
        Names (B, K, NUM_NAMED), excess (B, K, NUM_EXCESS) and similarity (B, K).
    """
    width = _CANDIDATES + _STRANGERS
    named = np.zeros((count, width, NUM_NAMED), dtype=np.float32)
    excess = np.zeros((count, width, NUM_EXCESS), dtype=np.float32)
    partly = rng.random((count, 1)) < _PARTLY_NAMED
    named[:, :_CANDIDATES, 0] = np.where(partly, rng.uniform(0.5, 1.0, (count, 1)), 1.0)
    named[:, :_CANDIDATES, 1] = ~partly
    # Not named at all; named as far as a namesake is; and Augustus, asked about Augustus John.
    strange = rng.integers(0, 3, (count, _STRANGERS))
    share = rng.uniform(0.2, 0.8, strange.shape)
    named[:, _CANDIDATES:, 0] = np.choose(strange, [0.0, share, 1.0])
    named[:, _CANDIDATES:, 1] = strange == 2
    lacks = rng.uniform(0.25, 0.75, strange.shape)
    excess[:, _CANDIDATES:, 0] = np.where(strange == 0, 0.0, lacks)
    similarity = np.concatenate(
        [
            rng.uniform(*_SIMILARITY, (count, _CANDIDATES)),
            rng.uniform(*_STRANGE_SIMILARITY, strange.shape),
        ],
        axis=1,
    )
    return named, excess, similarity.astype(np.float32)


def matching_steps(pairs: MatchingPairs, steps: int) -> int:
    """How many steps with pairs alone belong to so many of the first stage."""
    return _STEPS[pairs.trained is not None] * steps


def train_matching(
    match: MatchHead, pairs: MatchingPairs, *, steps: int, learning_rate: float, seed: int
) -> list[dict[str, float]]:
    """Train the judgement alone, and the layers that it reads questions with.

    Returns:
        The learning curve.
    """
    groups = [{"params": list(match.parameters()), "lr": learning_rate}]
    if pairs.trained is not None:
        pairs.trained.requires_grad_(True)
        rate = _READER_RATE * learning_rate
        groups.append({"params": list(pairs.trained.parameters()), "lr": rate})
    optimizer = torch.optim.AdamW(groups, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0 - step / steps)
    curve = []
    bar = tqdm(range(steps), desc="matching", unit="step")
    for step in bar:
        loss = matching_loss(
            match, pairs, _BATCH[pairs.trained is not None], np.random.default_rng((seed, 5, step))
        )
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        curve.append({"step": step, "loss": loss.item()})
        bar.set_postfix(loss=f"{loss.item():.3f}")
    if pairs.trained is not None:
        pairs.trained.requires_grad_(False)
        # A gradient that is left would count among those that the next stage cuts to a size.
        pairs.trained.zero_grad()
    return curve
