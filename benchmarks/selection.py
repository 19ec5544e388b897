"""Who finds the right fact: the encoder, the decoder, both, the question's words, the layers.

Ranks the facts of a task by each in turn and prints recall of the gold fact at 1 and 5, and
how well the refusal estimate tells unanswerable questions apart, with and without the look at
the question's words.

    python benchmarks/selection.py --facts F.jsonl --questions Q.jsonl --num-facts 1000 8707
"""

from __future__ import annotations

import argparse
import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from kblam import KBLaM
from kblam._engine import Engine
from kblam._prompt import pad_prompts, tokenize
from kblam._questions import load_facts, load_questions
from kblam.decoder import FactInput
from kblam.decoder.refusal import refusal_features
from kblam.decoder.selection_heads import SelectionHead
from kblam.encoding import Evidence, read_evidence
from kblam.evaluation.tasks import Task, build_task
from kblam.training.objective import last_hidden

_BATCH = 32
# What makes the selection query, and whether its best facts are ranked again by words.
_RANKINGS = (("encoder", False), ("decoder", False), ("both", False), ("both", True))


@torch.no_grad()
def rankings(engine: Engine, task: Task, source: str, words: bool) -> dict[str, Tensor]:
    """Rank the facts of a task for each of its questions.

    Args:
        engine: The base with the adapter attached.
        task: Facts and questions.
        source: What makes the selection query.
        words: Whether the question's words are looked at.

    Returns:
        ``selection`` and ``reading``: fact indices best first, (N, k); ``refusal``: the
        probability that the facts do not answer, (N,).
    """
    decoder = engine.decoder
    if decoder is None or decoder.adapter.selection is None or decoder.adapter.refusal is None:
        raise SystemExit("This needs an adapter with selection and refusal.")
    head: SelectionHead = decoder.adapter.selection
    before, head.sources = head.sources, source  # type: ignore[assignment]
    encode = engine.encoder.encode
    keys = torch.from_numpy(encode([fact.key_text for fact in task.facts]))
    values = torch.from_numpy(encode([fact.value_text for fact in task.facts]))
    found: dict[str, list[Tensor]] = {"selection": [], "reading": [], "refusal": []}
    label = f"{source}{' and words' if words else ''}"
    for start in tqdm(range(0, len(task.questions), _BATCH), desc=label, leave=False):
        asked = [question.text for question in task.questions[start : start + _BATCH]]
        prompts = [tokenize(engine.tokenizer, [{"role": "user", "content": q}]) for q in asked]
        padded = pad_prompts(prompts, engine.pad_token, engine.context, engine.model.device)
        facts = FactInput(
            keys,
            values,
            encoder_query=torch.from_numpy(encode(asked)),
            prompt_mask=padded.attention_mask.bool(),
            evidence=partial(_evidence, engine, task, asked) if words else None,
        )
        with decoder.facts(facts, trace=True) as session:
            hidden = last_hidden(engine.model, padded.input_ids, padded.attention_mask)
            logit = decoder.adapter.refusal(hidden[:, -1], refusal_features(session))
        selection = session.selection
        assert selection is not None
        reading = torch.stack(list(session.attention.values())).sum(0)
        found["selection"].append(selection.index)
        found["reading"].append(selection.index.gather(1, reading.argsort(1, descending=True)))
        found["refusal"].append(torch.sigmoid(logit))
    head.sources = before
    return {name: torch.cat(parts) for name, parts in found.items()}


def _evidence(
    engine: Engine, task: Task, asked: list[str], index: Tensor, _visible: Tensor
) -> Evidence:
    facts = [[task.facts[place] for place in row] for row in index.tolist()]
    readers = engine.reader, engine.property_reader
    return read_evidence(asked, [""] * len(asked), facts, *readers)


def recall(task: Task, ranked: Tensor, k: int) -> float:
    """Share of answerable questions with a gold fact among the first k."""
    hits = []
    for gold, row in zip(task.gold, ranked.tolist(), strict=True):
        if gold:
            first = [task.facts[index] for index in row[:k]]
            hits.append(any(fact in gold for fact in first))
    return sum(hits) / max(1, len(hits))


def refusal_scores(task: Task, probability: Tensor, threshold: float) -> dict[str, float]:
    """Precision and recall of refusing above a threshold."""
    right = torch.tensor([not question.answerable for question in task.questions])
    refused = probability > threshold
    hit = float((refused & right).sum())
    return {
        "precision": hit / max(1.0, float(refused.sum())),
        "recall": hit / max(1.0, float(right.sum())),
    }


def main() -> None:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--facts", type=Path, required=True)
    parser.add_argument("--questions", type=Path, required=True)
    parser.add_argument("--num-facts", type=int, nargs="+", default=[1000])
    parser.add_argument("--limit", type=int, default=None)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--adapter", default="default")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    engine = KBLaM.from_pretrained(adapter=options.adapter)._engine
    assert engine.decoder is not None
    threshold = engine.decoder.adapter.config.refusal.threshold
    facts, questions = load_facts(options.facts), load_questions(options.questions)
    rows: list[dict[str, Any]] = []
    for size in options.num_facts:
        task = build_task(facts, questions, num_facts=size, limit=options.limit, seed=options.seed)
        for source, words in _RANKINGS:
            found = rankings(engine, task, source, words)
            row: dict[str, Any] = {
                "num_facts": len(task.facts),
                "num_questions": len(task.questions),
                "query": source,
                "words": words,
            }
            for name in ("selection", "reading"):
                row[f"{name}_recall_at_1"] = recall(task, found[name], 1)
                row[f"{name}_recall_at_5"] = recall(task, found[name], 5)
            if source == "both":
                row["refusal"] = refusal_scores(task, found["refusal"], threshold)
            rows.append(row)
            sys.stdout.write(json.dumps(row) + "\n")
            sys.stdout.flush()
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
