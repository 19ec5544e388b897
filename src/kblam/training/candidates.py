"""Which facts a training question is shown: a knowledge base of any size, hard ones first."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from kblam.training.corpus import Corpus

__all__ = ["choose_candidates"]

# Chance that nothing else is kept of what is asked about: the fact stands alone in its base.
_ALONE = 0.05
# Chance that the base is a handful of facts, as a first try of anybody is.
_FEW = 0.2
_FEW_KEPT = 0.5
_FEW_OTHERS = 3


def choose_candidates(
    corpus: Corpus, questions: list[int], count: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw a knowledge base per question and take its facts most like the question.

    Its size is drawn log-uniformly from 1 to all facts. Entities come and go whole, as they
    do in a real base, so that the other properties of the entity asked about are nearly
    always there, except in bases of a handful of facts. Gold facts are always in, in no
    particular place. A base of fewer facts than asked for leaves places that are not to be seen.

    Args:
        corpus: Facts and questions.
        questions: B indices.
        count: K facts each.
        rng: Source of randomness.

    Returns:
        Fact indices (B, K), True on gold ones (B, K), and True on those in the base (B, K), at
        least one in every row.
    """
    total = len(corpus.facts)
    similarity = corpus.asked[questions] @ corpus.keys.T
    draw = torch.from_numpy(rng.random((len(questions), int(corpus.entity_of.max()) + 1)))
    sizes = np.exp(rng.uniform(0.0, math.log(total), len(questions)))
    shares = torch.from_numpy(sizes / total)
    alone = rng.random(len(questions)) < _ALONE
    for row, question in enumerate(questions):
        # What is asked about is in the base, with whatever else is known of it.
        kept = {*corpus.questions[question].gold, *corpus.questions[question].near}
        if kept and not alone[row]:
            draw[row, corpus.entity_of[sorted(kept)]] = -1.0
    inside = draw[:, corpus.entity_of] < shares[:, None]
    for row, question in enumerate(questions):
        if rng.random() < _FEW:
            inside[row] = _few(corpus, question, rng)
    for row, question in enumerate(questions):
        inside[row, list(corpus.questions[question].gold)] = True
        similarity[row, list(corpus.questions[question].gold)] = 2.0
    # Nobody asks an empty base: it has all facts then.
    inside |= ~inside.any(1, keepdim=True)
    similarity = similarity.masked_fill(~inside, -2.0)
    chosen = similarity.topk(min(count, total), dim=1).indices
    visible = similarity.gather(1, chosen) > -2.0
    gold = torch.zeros_like(chosen, dtype=torch.bool)
    for row, question in enumerate(questions):
        order = torch.from_numpy(rng.permutation(chosen.shape[1]))
        chosen[row], visible[row] = chosen[row, order], visible[row, order]
        wanted = torch.tensor(corpus.questions[question].gold, dtype=torch.long)
        gold[row] = torch.isin(chosen[row], wanted)
    return chosen, gold, visible


def _few(corpus: Corpus, question: int, rng: np.random.Generator) -> Tensor:
    """A base of some facts of the entity asked about and hardly any other, (M,)."""
    asked = corpus.questions[question]
    # Of an entity that is not there, one with a similar name is.
    about = corpus.entity_of[list(asked.gold or asked.near[:1])]
    own = torch.isin(corpus.entity_of, about)
    inside = own & torch.from_numpy(rng.random(len(own)) < _FEW_KEPT)
    inside[torch.from_numpy(rng.integers(0, len(own), int(rng.integers(_FEW_OTHERS + 1))))] = True
    # Nothing at all would become everything; gold facts are there in any case.
    return inside if asked.gold or inside.any() else own
