"""Which layer selects, pooled how, with how many heads: selection heads trained side by side.

Each row is a selection head trained on cached hidden states of one layer, as the first stage of
training does it but without the question's words, and then asked held-back synthetic questions:
recall of the gold fact at 1 and 5 among 1,000 and among all held-back facts.

    python benchmarks/selection_study.py --output runs/study --json study.json
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from kblam import KBLaM
from kblam._digest import weights_digest
from kblam._engine import Engine
from kblam.config import DEFAULT_REFUSAL, KnowledgeConfig, SelectionConfig
from kblam.decoder import KnowledgeAdapter, attention_layout
from kblam.training.batches import question_example
from kblam.training.corpus import Corpus, build_corpus
from kblam.training.retrieval import HiddenCache, cache_hidden, train_selection

_SEED = 7
_BATCH = 128
_SMALL = 1_000


@dataclass(frozen=True)
class Variant:
    """One head of the study.

    Attributes:
        layer: Whose input it sees.
        pooling: Over the prompt's tokens: learned attention, their mean, or the last one alone.
        pools: Heads of the attention pooling.
        sources: What makes the query.
    """

    layer: int
    pooling: Literal["attention", "mean", "last"]
    pools: int
    sources: Literal["both", "encoder", "decoder"]


def variants(layers: list[int]) -> list[Variant]:
    """The heads to compare: every layer once, then pooling and heads at the second of them."""
    second = layers[min(1, len(layers) - 1)]
    rows = [Variant(layer, "attention", 4, "decoder") for layer in layers]
    rows += [Variant(second, "attention", pools, "decoder") for pools in (1, 16)]
    rows += [Variant(second, pooling, 1, "decoder") for pooling in ("mean", "last")]  # type: ignore[arg-type]
    return [
        *rows,
        Variant(second, "attention", 4, "encoder"),
        Variant(second, "attention", 4, "both"),
    ]


def last_tokens(cache: HiddenCache) -> HiddenCache:
    """The same prompts, each with the state of its last token alone."""
    return HiddenCache(cache.states[cache.offsets[1:] - 1], torch.arange(len(cache) + 1))


def make_head(engine: Engine, variant: Variant) -> KnowledgeAdapter:
    """An untrained adapter with the variant's selection head."""
    layout = attention_layout(engine.model)
    config = KnowledgeConfig(
        encoder=engine.encoder.name,
        encoder_dimension=engine.encoder.dimension,
        knowledge_layers=(variant.layer,),
        hidden_size=layout.hidden_size,
        num_heads=layout.num_heads,
        num_key_heads=layout.num_key_value_heads,
        head_dim=layout.head_dim,
        selection=SelectionConfig(variant.layer, sources=variant.sources, pools=variant.pools),
    )
    torch.manual_seed(_SEED)
    adapter = KnowledgeAdapter(config, layout)
    if variant.pooling == "mean" and adapter.selection is not None:
        adapter.selection.pooling.data.zero_()
        adapter.selection.pooling.requires_grad_(False)
    return adapter


@torch.no_grad()
def recall(adapter: KnowledgeAdapter, corpus: Corpus, cache: HiddenCache) -> dict[str, float]:
    """Recall of a gold fact at 1 and 5, among 1,000 and among all facts of a corpus."""
    head = adapter.selection
    assert head is not None
    asked = [q for q in range(len(cache)) if corpus.questions[q].gold]
    rng = np.random.default_rng(_SEED)
    hits: dict[str, list[bool]] = {}
    for start in range(0, len(asked), _BATCH):
        rows = asked[start : start + _BATCH]
        hidden, mask = cache.batch(rows)
        query, _ = head(hidden.float(), mask, corpus.asked[rows], corpus.context[rows])
        scores = query @ corpus.keys.T
        for row, question in enumerate(rows):
            gold = list(corpus.questions[question].gold)
            few = rng.choice(len(corpus.facts), min(_SMALL, len(corpus.facts)), replace=False)
            few = np.unique([*few, *gold, *corpus.questions[question].near])
            for size, facts in (("1000", torch.from_numpy(few)), ("all", None)):
                for k in (1, 5):
                    found = _best(scores[row], facts, k)
                    hits.setdefault(f"recall_at_{k}_{size}", []).append(
                        bool(set(found) & set(gold))
                    )
    return {name: float(np.mean(values)) for name, values in hits.items()}


def _best(scores: Tensor, facts: Tensor | None, k: int) -> list[int]:
    if facts is None:
        return [int(i) for i in scores.topk(k).indices]
    return [int(i) for i in facts[scores[facts].topk(k).indices]]


def main() -> None:
    """Read the arguments, train every head, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("runs/study"))
    parser.add_argument("--layers", type=int, nargs="+", default=[6, 12, 18, 24])
    parser.add_argument("--num-facts", type=int, default=10_000)
    parser.add_argument("--num-questions", type=int, default=12_000)
    parser.add_argument("--validation-questions", type=int, default=800)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    model = KBLaM.from_pretrained(adapter=None, dtype=torch.bfloat16)
    engine: Engine = model._engine
    train = build_corpus(
        engine.encoder,
        num_facts=options.num_facts,
        num_questions=options.num_questions,
        seed=_SEED,
        cache=options.output / "train.safetensors",
    )
    held_back = build_corpus(
        engine.encoder,
        num_facts=options.num_facts,
        num_questions=options.validation_questions,
        seed=_SEED + 1,
        cache=options.output / "validation.safetensors",
        split="validation",
    )
    base = weights_digest(engine.model)
    rows: list[dict[str, Any]] = []
    for variant in tqdm(variants(options.layers), desc="heads"):
        caches = []
        for name, corpus in (("train", train), ("validation", held_back)):
            examples = [
                question_example(engine, corpus.facts, question, DEFAULT_REFUSAL)
                for question in corpus.questions
            ]
            path = options.output / f"{name}-{variant.layer}.safetensors"
            cache = cache_hidden(engine, examples, variant.layer, path, base=base)
            caches.append(last_tokens(cache) if variant.pooling == "last" else cache)
        adapter = make_head(engine, variant)
        curve = train_selection(
            adapter,
            train,
            caches[0],
            reader=engine.encoder,
            steps=options.steps,
            learning_rate=1e-3,
            seed=_SEED,
        )
        row = {**vars(variant), "train_loss": curve[-1]["loss"]}
        rows.append({**row, **recall(adapter.eval(), held_back, caches[1])})
        print(json.dumps(rows[-1]))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
