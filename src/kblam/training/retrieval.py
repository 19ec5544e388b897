"""The first stage: selection alone, on cached hidden states of the frozen base."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from kblam._digest import values_digest
from kblam._engine import Engine
from kblam.decoder import KnowledgeAdapter, attention_layout, text_decoder
from kblam.knowledge import TextEmbedder
from kblam.training._files import read_tensors, write_tensors
from kblam.training.batches import Example, collate
from kblam.training.candidates import choose_candidates
from kblam.training.corpus import Corpus, corpus_evidence
from kblam.training.matching import matching_loss
from kblam.training.pairs import MatchingPairs

__all__ = ["HiddenCache", "cache_hidden", "retrieval_loss", "train_selection"]

_log = logging.getLogger(__name__)
_HARD = 48
_RANDOM = 1024
_BATCH = 128


class _LayerReachedError(Exception):
    """Raised by the hook to end a forward pass once the wanted layer has its input."""

    def __init__(self, hidden: Tensor) -> None:
        super().__init__()
        self.hidden = hidden


class HiddenCache:
    """Hidden states of N prompts, of different lengths.

    Args:
        states: (total tokens, D).
        offsets: Where each prompt starts, (N + 1,).
    """

    def __init__(self, states: Tensor, offsets: Tensor) -> None:
        self.states = states
        self.offsets = offsets

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def batch(self, questions: list[int]) -> tuple[Tensor, Tensor]:
        """Padded hidden states (B, T, D) and their mask (B, T)."""
        spans = [(int(self.offsets[q]), int(self.offsets[q + 1])) for q in questions]
        longest = max(end - start for start, end in spans)
        hidden = self.states.new_zeros(len(spans), longest, self.states.shape[1])
        mask = torch.zeros(len(spans), longest, dtype=torch.bool)
        for row, (start, end) in enumerate(spans):
            hidden[row, : end - start] = self.states[start:end]
            mask[row, : end - start] = True
        return hidden, mask


@torch.no_grad()
def cache_hidden(
    engine: Engine,
    examples: list[Example],
    layer: int,
    path: Path,
    *,
    base: str,
    batch_size: int = 64,
) -> HiddenCache:
    """Run the base up to a layer over every prompt, or read what was cached.

    Args:
        engine: The base.
        examples: Prompts; answers are not read.
        layer: Whose attention input is kept.
        path: The cache file.
        base: Digest of the base's weights: under one name there may be others by now.
        batch_size: Prompts at a time.
    """
    made_of = values_digest([base, layer, [example.prompt for example in examples]])
    if path.is_file():
        tensors = read_tensors(path, made_of)
        if tensors is not None:
            return HiddenCache(tensors["states"], tensors["offsets"])
        _log.warning(
            "The hidden states in %s are of other prompts or another base; making them again.", path
        )
    module = attention_layout(engine.model).modules[layer]

    def stop(_module: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> None:
        raise _LayerReachedError(kwargs["hidden_states"] if "hidden_states" in kwargs else args[0])

    order = sorted(range(len(examples)), key=lambda i: len(examples[i].prompt))
    parts: list[Tensor] = [torch.empty(0)] * len(examples)
    hook = module.register_forward_pre_hook(stop, with_kwargs=True)
    try:
        for start in tqdm(range(0, len(order), batch_size), desc="hidden states", unit="batch"):
            rows = order[start : start + batch_size]
            prompts = [Example(examples[i].prompt, [], [], [], [], "answer") for i in rows]
            batch = collate(prompts, engine.pad_token, engine.model.device)
            hidden = _until(engine, batch.input_ids, batch.attention_mask)
            for row, index in enumerate(rows):
                parts[index] = hidden[row, : int(batch.last[row]) + 1].to("cpu", torch.bfloat16)
    finally:
        hook.remove()
    offsets = torch.tensor([0, *np.cumsum([len(part) for part in parts]).tolist()])
    cache = HiddenCache(torch.cat(parts), offsets)
    write_tensors(path, {"states": cache.states, "offsets": cache.offsets}, made_of)
    return cache


def _until(engine: Engine, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    try:
        text_decoder(engine.model)(
            input_ids=input_ids, attention_mask=attention_mask, use_cache=False
        )
    except _LayerReachedError as reached:
        return reached.hidden
    raise RuntimeError("The forward pass never reached the selection layer.")


def retrieval_loss(
    adapter: KnowledgeAdapter,
    reader: TextEmbedder,
    corpus: Corpus,
    cache: HiddenCache,
    questions: list[int],
    rng: np.random.Generator,
) -> tuple[Tensor, Tensor]:
    """Cross-entropy of the gold facts, twice.

    Among hard and random facts and "none of them" for the query, and among the best k and
    "none of them" for the ranking that the layers after read.

    Returns:
        The loss, and the share of questions whose best outcome is right.
    """
    head, config = adapter.selection, adapter.config.selection
    assert head is not None
    assert config is not None
    device = head.metric.device
    chosen, gold, visible = choose_candidates(corpus, questions, _HARD, rng)
    others = torch.from_numpy(rng.integers(0, len(corpus.facts), _RANDOM))
    hidden, mask = cache.batch(questions)
    asked = corpus.asked[questions].to(device)
    query, none = head(
        hidden.to(device).float(), mask.to(device), asked, corpus.context[questions].to(device)
    )
    gold, visible = gold.to(device), visible.to(device)
    keys = corpus.keys[chosen].to(device)
    hard = (keys @ query.unsqueeze(-1)).squeeze(-1)
    hard = hard.masked_fill(~visible, torch.finfo(hard.dtype).min)
    random = query @ corpus.keys[others].to(device).T
    # A random fact may be a gold one; it is in the hard set already.
    golds = [corpus.questions[q].gold for q in questions]
    clash = torch.stack([torch.isin(others, torch.tensor(g, dtype=torch.long)) for g in golds])
    random = random.masked_fill(clash.to(device), torch.finfo(random.dtype).min)
    loss = _cross_entropy(torch.cat([hard, random], dim=1), none, gold)
    # As the decoder does it: what the query ranks first is looked at again.
    best = hard.topk(min(config.top_k, hard.shape[1]), dim=1).indices
    scores, seen = hard.gather(1, best), visible.gather(1, best)
    if adapter.match is not None:
        similarity = (keys @ asked.unsqueeze(-1)).squeeze(-1).gather(1, best)
        evidence = corpus_evidence(reader, corpus, corpus.texts(questions), chosen)(best, seen)
        told = corpus.values[chosen.gather(1, best.cpu())].to(device) * seen.unsqueeze(-1)
        scores = torch.where(seen, scores + adapter.match(evidence, similarity, told), scores)
        found = gold.gather(1, best)
        # A gold fact that the query did not rank among them cannot be ranked first here.
        fair = found.any(1) | ~gold.any(1)
        loss = loss + _cross_entropy(scores[fair], none[fair], found[fair])
    is_right = torch.cat([gold.gather(1, best), ~gold.any(1, keepdim=True)], dim=1)
    outcome = torch.cat([scores, none[:, None]], dim=1).argmax(1)
    return loss, is_right.gather(1, outcome[:, None]).float().mean()


def _cross_entropy(scores: Tensor, none: Tensor, gold: Tensor) -> Tensor:
    """Against all gold facts alike, or "none of them" where there is no gold one.

    Args:
        scores: (B, M), the first G of which may be gold.
        none: (B,).
        gold: (B, G).
    """
    log_prob = torch.cat([scores, none[:, None]], dim=1).log_softmax(-1)
    count = gold.sum(1)
    # Facts that do not exist have no finite logarithm to multiply by zero.
    known = log_prob[:, : gold.shape[1]].masked_fill(~gold, 0.0)
    found = -known.sum(1) / count.clamp_min(1)
    return torch.where(count > 0, found, -log_prob[:, -1]).mean()


def train_selection(
    adapter: KnowledgeAdapter,
    corpus: Corpus,
    cache: HiddenCache,
    *,
    reader: TextEmbedder,
    pairs: MatchingPairs | None = None,
    steps: int,
    learning_rate: float,
    seed: int,
) -> list[dict[str, float]]:
    """Train selection alone: its query and its ranking by words.

    Args:
        adapter: In training.
        corpus: Facts and questions.
        cache: Hidden states of the questions' prompts.
        reader: Embeds questions without their names, and properties; it should cache.
        pairs: Shown beside, so that what they taught is not lost.
        steps: Of the optimiser.
        learning_rate: Its peak.
        seed: Of batches and bases.

    Returns:
        The learning curve.
    """
    head = adapter.selection
    assert head is not None
    parameters = [*head.parameters(), *(adapter.match.parameters() if adapter.match else ())]
    optimizer = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=0.02)
    total = max(3, steps)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=learning_rate,
        total_steps=total,
        pct_start=max(0.05, 2 / total),  # it needs two steps to rise
    )
    curve = []
    bar = tqdm(range(steps), desc="selection", unit="step")
    for step in bar:
        rng = np.random.default_rng((seed, 1, step))
        questions = rng.integers(0, len(cache), _BATCH).tolist()
        loss, accuracy = retrieval_loss(adapter, reader, corpus, cache, questions, rng)
        if adapter.match is not None and pairs is not None:
            loss = loss + matching_loss(adapter.match, pairs, rng)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        curve.append({"step": step, "loss": loss.item(), "accuracy": accuracy.item()})
        bar.set_postfix(loss=f"{loss.item():.3f}", accuracy=f"{accuracy.item():.3f}")
    return curve
