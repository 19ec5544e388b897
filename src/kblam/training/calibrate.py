"""Choosing the refusal threshold on held-back synthetic questions."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from kblam._engine import Engine
from kblam.config import KnowledgeConfig
from kblam.decoder import FactInput, KnowledgeAdapter, attach
from kblam.decoder.refusal import refusal_features
from kblam.training.batches import collate, question_example
from kblam.training.corpus import Corpus
from kblam.training.objective import last_hidden

__all__ = ["Calibration", "best_threshold", "calibrate", "refusal_probabilities"]

_SIZES = (100, 1_000, 5_000)
_BATCH = 32
# What a wrongly refused question costs against a wrongly answered one, questions being
# answerable far more often than not in use: F1 at this share of unanswerable ones.
_SHARE_UNANSWERABLE = 0.1


@dataclass(frozen=True)
class Calibration:
    """The configuration with its threshold, and how it was found.

    Attributes:
        config: With the threshold set.
        report: Precision and recall of refusal by number of facts.
    """

    config: KnowledgeConfig
    report: dict[str, Any]


def calibrate(
    engine: Engine,
    adapter: KnowledgeAdapter,
    corpus: Corpus,
    *,
    seed: int,
    num_questions: int = 800,
) -> Calibration:
    """Choose the threshold that gives the best F1 of refusals, over several sizes.

    Args:
        engine: The base.
        adapter: Trained.
        corpus: Held-back questions.
        seed: Draws the knowledge bases.
        num_questions: How many of them.
    """
    count = min(num_questions, len(corpus.questions))
    truth = np.array([not corpus.questions[q].gold for q in range(count)])
    weights = np.where(truth, _SHARE_UNANSWERABLE / max(1e-9, truth.mean()), 1.0)
    weights[~truth] = (1 - _SHARE_UNANSWERABLE) / max(1e-9, 1 - truth.mean())
    sizes = sorted({min(size, len(corpus.facts)) for size in _SIZES})
    by_size = {
        size: refusal_probabilities(engine, adapter, corpus, count, size, seed) for size in sizes
    }
    threshold = best_threshold(
        np.concatenate(list(by_size.values())),
        np.tile(truth, len(sizes)),
        np.tile(weights, len(sizes)),
    )
    report = {
        "threshold": threshold,
        "num_questions": count,
        "share_unanswerable": _SHARE_UNANSWERABLE,
        "by_num_facts": {
            str(size): _scores(probability > threshold, truth, weights)
            for size, probability in by_size.items()
        },
    }
    refusal = dataclasses.replace(adapter.config.refusal, threshold=threshold)
    return Calibration(dataclasses.replace(adapter.config, refusal=refusal), report)


def best_threshold(
    probability: np.ndarray[Any, Any], truth: np.ndarray[Any, Any], weights: np.ndarray[Any, Any]
) -> float:
    """The threshold with the highest weighted F1; the middle of the best run of thresholds.

    Args:
        probability: Estimated, (N,).
        truth: Whether a refusal is right, (N,).
        weights: Of each question, (N,).
    """
    grid = np.linspace(0.02, 0.98, 97)
    scores = np.array([_scores(probability > t, truth, weights)["f1"] for t in grid])
    best = np.flatnonzero(scores >= scores.max() - 1e-3)
    return float(grid[best[len(best) // 2]])


def _scores(
    refused: np.ndarray[Any, Any], truth: np.ndarray[Any, Any], weights: np.ndarray[Any, Any]
) -> dict[str, float]:
    right = float(weights[refused & truth].sum())
    precision = right / max(1e-9, float(weights[refused].sum()))
    recall = right / max(1e-9, float(weights[truth].sum()))
    f1 = 2 * precision * recall / max(1e-9, precision + recall)
    return {"precision": precision, "recall": recall, "f1": f1}


@torch.no_grad()
def refusal_probabilities(
    engine: Engine,
    adapter: KnowledgeAdapter,
    corpus: Corpus,
    count: int,
    num_facts: int,
    seed: int,
) -> np.ndarray[Any, Any]:
    """The refusal estimate for the first questions of a corpus.

    Args:
        engine: The base, nothing attached.
        adapter: Trained.
        corpus: Questions and facts.
        count: Questions.
        num_facts: Facts of the knowledge base; what the questions are near to is always in.
        seed: Draws the rest.

    Returns:
        (count,).
    """
    keep = _subset(corpus, count, num_facts, seed)
    device = engine.model.device
    keys, values = corpus.keys[keep].to(device), corpus.values[keep].to(device)
    decoder = attach(engine.model, adapter)
    head = adapter.refusal
    assert head is not None
    found = []
    try:
        for start in tqdm(range(0, count, _BATCH), desc=f"calibration, {len(keep)} facts"):
            rows = list(range(start, min(start + _BATCH, count)))
            examples = [
                dataclasses.replace(
                    question_example(engine, corpus.facts, corpus.questions[row], "-"), answer=[]
                )
                for row in rows
            ]
            batch = collate(examples, engine.pad_token, device)
            asked = corpus.asked[rows].to(device)
            facts = FactInput(keys, values, encoder_query=asked, prompt_mask=batch.prompt_mask)
            with decoder.facts(facts) as session:
                hidden = last_hidden(engine.model, batch.input_ids, batch.attention_mask)
                last = hidden[torch.arange(len(rows)), batch.last]
                logit = head(last, refusal_features(session, batch.last))
            found.append(torch.sigmoid(logit).cpu())
    finally:
        decoder.detach()
    return torch.cat(found).numpy()


def _subset(corpus: Corpus, count: int, num_facts: int, seed: int) -> Tensor:
    """Facts asked about and near to them first, whole entities, filled up to ``num_facts``."""
    asked = [corpus.questions[q] for q in range(count)]
    wanted = sorted({fact for q in asked for fact in (*q.gold, *q.near)})
    entities = set(corpus.entity_of[wanted].tolist())
    needed = [i for i, e in enumerate(corpus.entity_of.tolist()) if e in entities]
    others = np.setdiff1d(np.arange(len(corpus.facts)), needed)
    room = max(0, num_facts - len(needed))
    rng = np.random.default_rng((seed, 5))
    fill = rng.choice(others, min(room, len(others)), replace=False)
    return torch.from_numpy(np.concatenate([np.array(needed, dtype=np.int64), fill]))
