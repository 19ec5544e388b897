"""The second stage: query heads, adapters, pointer, refusal and selection learn together."""

from __future__ import annotations

import logging
import math
import time

import numpy as np
import torch
from accelerate import Accelerator
from tqdm import tqdm

from kblam.decoder import KnowledgeAdapter
from kblam.errors import KBLaMError
from kblam.training.checkpoint import Checkpoint
from kblam.training.config import TrainingConfig
from kblam.training.corpus import Corpus
from kblam.training.curve import Curve
from kblam.training.objective import Losses
from kblam.training.optimisation import make_optimizer
from kblam.training.processes import share_gradients
from kblam.training.trainer import Trainer

__all__ = ["train_jointly"]

_log = logging.getLogger(__name__)
_MAX_NORM = 1.0
_VALIDATION_BATCHES = 2


def train_jointly(
    config: TrainingConfig,
    accelerator: Accelerator,
    trainer: Trainer,
    validation: Corpus,
    curve: Curve,
    checkpoint: Checkpoint,
) -> None:
    """Train from the checkpoint, where there is one, or from the beginning.

    Args:
        config: The settings.
        accelerator: This process among the others.
        trainer: Draws batches and computes their losses.
        validation: Held-back questions.
        curve: Gets a row for each step.
        checkpoint: Where the run's state is kept.

    Raises:
        ConfigError: The checkpoint cannot be read.
        KBLaMError: The loss became infinite.
    """
    adapter, is_main = trainer.decoder.adapter, accelerator.is_main_process
    optimizer, schedule = make_optimizer(config, adapter)
    first = 0
    if checkpoint.exists:
        first = checkpoint.load(adapter, optimizer, schedule)
        curve.cut(first)
        _log.info("Going on from step %d.", first)
    started = time.perf_counter()
    steps = range(first, config.steps)
    bar = tqdm(steps, initial=first, total=config.steps, desc="joint", disable=not is_main)
    for step in bar:
        # Each process takes its own share of the steps' batches.
        place = step * accelerator.num_processes + accelerator.process_index
        # What is dropped out, too, is the same after a resumption as without one.
        torch.manual_seed(int(np.random.default_rng((config.seed, 6, place)).integers(2**63)))
        losses = trainer.losses(*trainer.draw(place))
        norm = _learn(config, accelerator, adapter, optimizer, losses, step)
        schedule.step()
        numbers, done = losses.numbers(), step + 1
        seconds = time.perf_counter() - started
        curve.add("joint", step, {"norm": norm, "seconds": seconds, **numbers})
        bar.set_postfix({name: f"{value:.2f}" for name, value in numbers.items()})
        if not is_main:
            continue
        if done % config.validation_every == 0 or done == config.steps:
            curve.add("validation", step, _validate(trainer, validation, config))
        if done % config.checkpoint_every == 0 or done == config.steps:
            curve.write()
            checkpoint.save(done, adapter, optimizer, schedule)


def _learn(
    config: TrainingConfig,
    accelerator: Accelerator,
    adapter: KnowledgeAdapter,
    optimizer: torch.optim.Optimizer,
    losses: Losses,
    step: int,
) -> float:
    """Take one step, of all processes together.

    Returns:
        The gradient's norm before it was cut.
    """
    optimizer.zero_grad()
    total = losses.total(config.kl_weight, config.selection_weight, config.refusal_weight)
    total.backward()  # type: ignore[no-untyped-call]
    share_gradients(accelerator, adapter)
    norm = float(torch.nn.utils.clip_grad_norm_(adapter.parameters(), _MAX_NORM))
    if not math.isfinite(norm):
        raise KBLaMError(
            f"Expected a finite gradient, got {norm} in step {step}; the losses are "
            f"{losses.numbers()}. Train again with a smaller --learning-rate, into another "
            "--output-dir: a run that goes on keeps its learning rate."
        )
    optimizer.step()
    return norm


@torch.no_grad()
def _validate(trainer: Trainer, validation: Corpus, config: TrainingConfig) -> dict[str, float]:
    rng = np.random.default_rng((config.seed, 4))
    size = min(48, len(validation.questions) // _VALIDATION_BATCHES)
    sums: dict[str, float] = {}
    trainer.decoder.adapter.eval()
    for index in range(_VALIDATION_BATCHES):
        questions = list(range(index * size, (index + 1) * size))
        for name, value in trainer.losses(questions, [], rng, validation).numbers().items():
            sums[name] = sums.get(name, 0.0) + value / _VALIDATION_BATCHES
    trainer.decoder.adapter.train()
    return sums
