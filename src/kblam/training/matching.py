"""Judging whether a property is the one asked for, taught by itself.

The questions of a world show a fact of the right property beside a few of the same entity, one
question at a time: too rarely for the judgement to learn that a mother is no father. Neither
needs an entity, so pairs of questions without their names and of properties are shown by
themselves, some hundred times as many for the same work. Beside them stand strangers, the right
property of somebody else, who is not named or only in part: that judgement lives in the same
numbers.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from kblam.decoder.selection_heads import MatchHead
from kblam.encoding.evidence import NUM_EXCESS, NUM_NAMED, Evidence
from kblam.training.pairs import Group, MatchingPairs

__all__ = ["matching_loss", "train_matching"]

# Groups of questions a step.
_GROUPS = 4
# Of the encoder's layers, as a share of the judgement's own, which starts from nothing.
_READER_RATE = 0.3
# Of a right answer, and of all wrong ones together.
_RIGHT_WEIGHT = 3.0
_WRONG_WEIGHT = 34.0
_RANKING_WEIGHT = 0.5
_PARTLY_NAMED = 0.1
_SIMILARITY = (0.5, 0.97)
# Of another entity, whose property is the right one.
_STRANGERS = 3
_STRANGE_SIMILARITY = (0.2, 0.9)


def matching_loss(
    match: MatchHead, pairs: MatchingPairs, rng: np.random.Generator, *, groups: int = 1
) -> Tensor:
    """Cross-entropy of whether each fact is asked for, and of which one is.

    The entity is mostly named whole, so that the property alone is to be judged, and the
    similarity is any: an entity's facts are all alike to the encoder. The last facts have the
    right property and another entity.

    Args:
        match: In training.
        pairs: Drawn from.
        rng: Source of randomness.
        groups: Of questions that are told apart together; one is enough beside other losses.
    """
    device = match.inner.device
    drawn = [group.to(device) for group in pairs.draw(groups, rng)]
    return torch.stack([_group_loss(match, group, rng) for group in drawn]).mean()


def _group_loss(match: MatchHead, group: Group, rng: np.random.Generator) -> Tensor:
    count = len(group.questions)
    device = group.properties.device

    def beside(facts: Tensor) -> Tensor:
        """All facts for each question, and its own once more for every stranger."""
        own = facts[:, None].expand(count, _STRANGERS, *facts.shape[1:])
        return torch.cat([facts.expand(count, *facts.shape), own], 1)

    words = _names(count, count, rng)
    named, excess, similarity = (torch.from_numpy(part).to(device) for part in words)
    evidence = Evidence(
        named, excess, group.questions, beside(group.properties), beside(group.verbs)
    )
    scores = match(evidence, similarity, beside(group.values))
    right = F.pad(group.right, (0, _STRANGERS))
    wrong = F.pad(group.wrong, (0, _STRANGERS), value=True)
    each = F.binary_cross_entropy_with_logits(scores, right.float(), reduction="none")
    # As much for all wrong ones of a question, however many there are.
    weight = _RIGHT_WEIGHT * right + _WRONG_WEIGHT * wrong / wrong.sum(1, keepdim=True)
    own = torch.arange(count, device=device)
    first = scores.masked_fill(~wrong, -torch.inf).index_put((own, own), scores[own, own])
    ranking = F.cross_entropy(first, own)
    return (each * weight).sum(1).mean() / (
        _RIGHT_WEIGHT + _WRONG_WEIGHT
    ) + _RANKING_WEIGHT * ranking


def _names(
    count: int, candidates: int, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """What the words tell of entities: the one asked about, and strangers in the last places.

    Args:
        count: Questions, B.
        candidates: Facts of the entity asked about, for each.
        rng: Source of randomness.

    Returns:
        Names (B, K, NUM_NAMED), excess (B, K, NUM_EXCESS) and similarity (B, K).
    """
    width = candidates + _STRANGERS
    named = np.zeros((count, width, NUM_NAMED), dtype=np.float32)
    excess = np.zeros((count, width, NUM_EXCESS), dtype=np.float32)
    partly = rng.random((count, 1)) < _PARTLY_NAMED
    named[:, :candidates, 0] = np.where(partly, rng.uniform(0.5, 1.0, (count, 1)), 1.0)
    named[:, :candidates, 1] = ~partly
    # Not named at all; named as far as a namesake is; and Augustus, asked about Augustus John.
    strange = rng.integers(0, 3, (count, _STRANGERS))
    share = rng.uniform(0.2, 0.8, strange.shape)
    named[:, candidates:, 0] = np.choose(strange, [0.0, share, 1.0])
    named[:, candidates:, 1] = strange == 2
    lacks = rng.uniform(0.25, 0.75, strange.shape)
    excess[:, candidates:, 0] = np.where(strange == 0, 0.0, lacks)
    similarity = np.concatenate(
        [
            rng.uniform(*_SIMILARITY, (count, candidates)),
            rng.uniform(*_STRANGE_SIMILARITY, strange.shape),
        ],
        axis=1,
    )
    return named, excess, similarity.astype(np.float32)


def train_matching(
    match: MatchHead,
    pairs: MatchingPairs,
    *,
    steps: int,
    learning_rate: float,
    seed: int,
    groups: int = _GROUPS,
) -> list[dict[str, float]]:
    """Train the judgement alone, and the layers that it reads questions with.

    Args:
        match: In training.
        pairs: Drawn from.
        steps: Of the optimiser.
        learning_rate: At the first of them; it falls to nothing.
        seed: Of what is drawn.
        groups: Of questions, at each step.

    Returns:
        The learning curve.
    """
    parameters = [{"params": list(match.parameters()), "lr": learning_rate}]
    if pairs.trained is not None:
        pairs.trained.requires_grad_(True)
        rate = _READER_RATE * learning_rate
        parameters.append({"params": list(pairs.trained.parameters()), "lr": rate})
    optimizer = torch.optim.AdamW(parameters, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0 - step / steps)
    curve = []
    bar = tqdm(range(steps), desc="matching", unit="step")
    for step in bar:
        loss = matching_loss(match, pairs, np.random.default_rng((seed, 5, step)), groups=groups)
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
