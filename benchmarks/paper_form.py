"""Train an adapter in the published form, to compare with: no selection, no copying.

Every third layer attends to all facts with queries of its own, made of the decoder's hidden states
alone; values are spelled from their knowledge tokens, and a refusal is a sentence like any other
(Wang et al., ICLR 2025, sections 4 and 5). Data and base model are those of ``kblam train``.

    python benchmarks/paper_form.py runs/paper --steps 300
    kblam evaluate --adapter runs/paper/adapter --facts F.jsonl --questions Q.jsonl --num-facts 1000
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from kblam import adapter as adapters
from kblam._engine import Engine
from kblam._loading import load_base_model
from kblam.config import DEFAULT_REFUSAL, KnowledgeConfig
from kblam.decoder import AttachedDecoder, FactInput, KnowledgeAdapter, attach, attention_layout
from kblam.training import TrainingConfig
from kblam.training.batches import Batch, collate, question_example
from kblam.training.candidates import choose_candidates
from kblam.training.corpus import Corpus, build_corpus
from kblam.training.objective import head_logits, last_hidden
from kblam.training.optimisation import make_optimizer

_SPACING = 3
_MAX_NORM = 1.0


def make_adapter(engine: Engine) -> KnowledgeAdapter:
    """An untrained adapter of the published form."""
    layout = attention_layout(engine.model)
    config = KnowledgeConfig(
        encoder=engine.encoder.name,
        encoder_dimension=engine.encoder.dimension,
        knowledge_layers=tuple(list(layout.modules)[::_SPACING]),
        hidden_size=layout.hidden_size,
        num_heads=layout.num_heads,
        num_key_heads=layout.num_key_value_heads,
        head_dim=layout.head_dim,
        scale_factor=100.0,
    )
    return KnowledgeAdapter(config, layout).train()


def answer_loss(engine: Engine, hidden: Tensor, batch: Batch) -> Tensor:
    """Cross-entropy of every token of the answers, values included."""
    answer = batch.attention_mask.bool() & ~batch.prompt_mask
    predicts = F.pad(answer[:, 1:], (0, 1))
    logits = head_logits(engine.model, hidden[predicts])
    return F.cross_entropy(logits, batch.input_ids[answer])


def step_loss(
    engine: Engine, decoder: AttachedDecoder, corpus: Corpus, config: TrainingConfig, step: int
) -> Tensor:
    """The loss of one batch of questions."""
    rng = np.random.default_rng((config.seed, step))
    questions = rng.integers(0, len(corpus.questions), config.batch_size).tolist()
    examples = [
        question_example(engine, corpus.facts, corpus.questions[q], DEFAULT_REFUSAL)
        for q in questions
    ]
    device = engine.model.device
    batch = collate(examples, engine.pad_token, device)
    chosen, _, visible = choose_candidates(corpus, questions, config.candidates, rng)
    facts = FactInput(
        corpus.keys[chosen].to(device), corpus.values[chosen].to(device), mask=visible.to(device)
    )
    with decoder.facts(facts):
        hidden = last_hidden(engine.model, batch.input_ids, batch.attention_mask)
    return answer_loss(engine, hidden, batch)


def main() -> None:
    """Train and save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch-size", type=int, default=24)
    parser.add_argument("--num-facts", type=int, default=10_000)
    parser.add_argument("--num-questions", type=int, default=12_000)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=7)
    options = vars(parser.parse_args())
    output: Path = options.pop("output")
    config = TrainingConfig(output_dir=str(output), candidates=64, **options)
    model, tokenizer = load_base_model(config.base_model, device=None, dtype=torch.bfloat16)
    engine = Engine(model, tokenizer, config.base_model, None, config.encoder)
    torch.manual_seed(config.seed)
    adapter = make_adapter(engine)
    corpus = build_corpus(
        engine.encoder,
        num_facts=config.num_facts,
        num_questions=config.num_questions,
        seed=config.seed,
        cache=output / "train.safetensors",
    )
    optimizer, schedule = make_optimizer(config, adapter)
    decoder, curve = attach(model, adapter), []
    bar = tqdm(range(config.steps), desc="published form", unit="step")
    for step in bar:
        loss = step_loss(engine, decoder, corpus, config, step)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(adapter.parameters(), _MAX_NORM)
        optimizer.step()
        schedule.step()
        curve.append({"step": step, "loss": loss.item()})
        bar.set_postfix(loss=f"{loss.item():.3f}")
    decoder.detach()
    adapters.save_pretrained(adapter, output / "adapter", model, base_model=config.base_model)
    (output / "curve.json").write_text(json.dumps(curve) + "\n")
    print(output / "adapter")


if __name__ == "__main__":
    main()
