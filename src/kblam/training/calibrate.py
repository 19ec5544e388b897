"""Choosing the refusal threshold on held-back synthetic questions."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from kblam._engine import Engine, question_reader
from kblam.decoder import FactInput, KnowledgeAdapter, attach
from kblam.decoder.refusal import refusal_features
from kblam.knowledge import TextEmbedder
from kblam.training.batches import Batch, collate, question_example
from kblam.training.corpus import Corpus, corpus_evidence
from kblam.training.data import TrainingQuestion, general_instructions
from kblam.training.objective import last_hidden

__all__ = ["SIZES", "Calibration", "best_threshold", "calibrate", "refusal_probabilities"]

#: Numbers of facts at which refusal is calibrated.
SIZES = (10, 100, 1_000, 10_000)
_BATCH = 32
# What a wrongly refused question costs against a wrongly answered one, questions being
# answerable far more often than not in use: F1 at this share of unanswerable ones.
_SHARE_UNANSWERABLE = 0.1
# Prompts that are about no fact at all, and must not be refused either.
_SHARE_GENERAL = 0.1
_NUM_GENERAL = 160
# Thresholds whose F1 differs by no more are equally good.
_ALL_BUT = 0.01


@dataclass(frozen=True)
class Calibration:
    """The refusal estimates of held-back questions and general prompts, by number of facts.

    Attributes:
        by_size: Estimates by number of facts, each (N,).
        truth: Where a refusal is right, (N,).
        general: Where the prompt is about no fact, (N,).
    """

    by_size: dict[int, np.ndarray[Any, Any]]
    truth: np.ndarray[Any, Any]
    general: np.ndarray[Any, Any]

    @property
    def weights(self) -> np.ndarray[Any, Any]:
        """What each counts, so that the sorts have their shares, (N,)."""
        weights = np.zeros(len(self.truth))
        for rows, share in (
            (self.truth, _SHARE_UNANSWERABLE),
            (self.general, _SHARE_GENERAL),
            (~self.truth & ~self.general, 1.0 - _SHARE_UNANSWERABLE - _SHARE_GENERAL),
        ):
            weights[rows] = share / max(1, rows.sum())
        return weights

    def threshold(self) -> float:
        """The threshold by F1 of refusals over all sizes, see :func:`best_threshold`."""
        count = len(self.by_size)
        return best_threshold(
            np.concatenate(list(self.by_size.values())),
            np.tile(self.truth, count),
            np.tile(self.weights, count),
        )

    def report(self, threshold: float) -> dict[str, Any]:
        """Precision and recall of refusal by number of facts, JSON-able."""
        refused = {size: found > threshold for size, found in self.by_size.items()}
        return {
            "threshold": threshold,
            "num_questions": int((~self.general).sum()),
            "num_general": int(self.general.sum()),
            "share_unanswerable": _SHARE_UNANSWERABLE,
            "share_general": _SHARE_GENERAL,
            "by_num_facts": {
                str(size): {
                    **_scores(rows, self.truth, self.weights),
                    "general_refused": float(rows[self.general].mean()),
                }
                for size, rows in refused.items()
            },
        }


def calibrate(
    engine: Engine,
    adapter: KnowledgeAdapter,
    corpus: Corpus,
    *,
    seed: int,
    num_questions: int = 800,
    sizes: Sequence[int] = SIZES,
) -> Calibration:
    """Estimate refusal for held-back questions, over several numbers of facts.

    Args:
        engine: The base, nothing attached.
        adapter: Trained.
        corpus: Held-back questions.
        seed: Draws the knowledge bases.
        num_questions: How many of them.
        sizes: Numbers of facts; those larger than the corpus are all of it.
    """
    corpus = _with_general(engine, corpus, min(num_questions, len(corpus.questions)), seed)
    kinds = np.array([question.kind for question in corpus.questions])
    return Calibration(
        {
            size: refusal_probabilities(engine, adapter, corpus, len(kinds), size, seed)
            for size in sorted({min(size, len(corpus.facts)) for size in sizes})
        },
        truth=kinds == "unanswerable",
        general=kinds == "general",
    )


def _with_general(engine: Engine, corpus: Corpus, count: int, seed: int) -> Corpus:
    """The first questions of a corpus, and after them prompts that are about no fact."""
    texts = general_instructions(_NUM_GENERAL, seed, split="validation")
    asked = torch.from_numpy(engine.encoder.encode(texts))
    return dataclasses.replace(
        corpus,
        questions=(
            *corpus.questions[:count],
            *(TrainingQuestion(text, (), (), "general") for text in texts),
        ),
        asked=torch.cat([corpus.asked[:count], asked]),
        context=torch.cat([corpus.context[:count], torch.zeros_like(asked)]),
    )


def best_threshold(
    probability: np.ndarray[Any, Any], truth: np.ndarray[Any, Any], weights: np.ndarray[Any, Any]
) -> float:
    """Of the thresholds whose weighted F1 is all but the highest, the one nearest to half of that.

    F1 hardly depends on the threshold over a good part of its range, and where in it the highest
    lies, or where it ends, is chance. Were the estimate exact, half of the highest F1 would be the
    best threshold (Lipton et al., Optimal Thresholding of Classifiers to Maximize F1 Measure,
    ECML 2014, theorem 1).

    Args:
        probability: Estimated, (N,).
        truth: Whether a refusal is right, (N,).
        weights: Of each question, (N,).
    """
    grid = np.linspace(0.02, 0.98, 97)
    scores = np.array([_scores(probability > t, truth, weights)["f1"] for t in grid])
    good = grid[scores >= scores.max() - _ALL_BUT]
    return round(float(good[np.abs(good - scores.max() / 2).argmin()]), 3)


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
        num_facts: Facts of each question's knowledge base; what answers it is always in, what is
            easily taken for that comes next.
        seed: Draws the rest.

    Returns:
        (count,).
    """
    device = engine.model.device
    was_training = adapter.training
    adapter.eval()
    decoder = attach(engine.model, adapter)
    reader = question_reader(engine.encoder, adapter)
    head = adapter.refusal
    assert head is not None
    found = []
    try:
        for start in tqdm(range(0, count, _BATCH), desc=f"calibration, {num_facts} facts"):
            rows = list(range(start, min(start + _BATCH, count)))
            examples = [
                dataclasses.replace(
                    question_example(engine, corpus.facts, corpus.questions[row], "-"), answer=[]
                )
                for row in rows
            ]
            batch = collate(examples, engine.pad_token, device)
            facts = _facts(engine, reader, corpus, rows, num_facts, batch, seed)
            with decoder.facts(facts) as session:
                hidden = last_hidden(engine.model, batch.input_ids, batch.attention_mask)
                last = hidden[torch.arange(len(rows)), batch.last]
                logit = head(last, refusal_features(session, batch.last))
            found.append(torch.sigmoid(logit).cpu())
    finally:
        decoder.detach()
        adapter.train(was_training)
    return torch.cat(found).numpy()


def _facts(
    engine: Engine,
    reader: TextEmbedder,
    corpus: Corpus,
    rows: list[int],
    num_facts: int,
    batch: Batch,
    seed: int,
) -> FactInput:
    """A knowledge base of its own for each question."""
    device = engine.model.device
    keep = torch.stack([_base(corpus, row, num_facts, seed) for row in rows])
    everything = num_facts >= len(corpus.facts)
    chosen = torch.arange(len(corpus.facts)) if everything else keep
    return FactInput(
        corpus.keys[chosen].to(device),
        corpus.values[chosen].to(device),
        encoder_query=corpus.asked[rows].to(device),
        context_query=corpus.context[rows].to(device),
        prompt_mask=batch.prompt_mask,
        evidence=corpus_evidence(reader, corpus, corpus.texts(rows), keep),
    )


def _base(corpus: Corpus, question: int, num_facts: int, seed: int) -> Tensor:
    """What is asked about first, then what is easily taken for it, then any facts."""
    total = len(corpus.facts)
    if num_facts >= total:
        return torch.arange(total)
    asked = corpus.questions[question]
    wanted = torch.tensor([*asked.gold, *asked.near], dtype=torch.long)
    same_entities = torch.isin(corpus.entity_of, corpus.entity_of[wanted])
    around = same_entities.nonzero()[:, 0].tolist()
    rng = np.random.default_rng((seed, 5, question))
    order = dict.fromkeys([*asked.gold, *asked.near, *around, *rng.permutation(total).tolist()])
    return torch.tensor(list(order)[:num_facts])
