"""The second stage's optimiser and its learning rates."""

from __future__ import annotations

import math
from typing import Any

import torch

from kblam.decoder import KnowledgeAdapter
from kblam.errors import ConfigError
from kblam.training.config import TrainingConfig

__all__ = ["freeze_others", "make_optimizer", "rate"]


def freeze_others(adapter: KnowledgeAdapter, only: str) -> None:
    """Leave a part of an adapter to be trained.

    Args:
        adapter: Changed in place.
        only: How the names of what is trained begin, such as ``pointer.``.

    Raises:
        ConfigError: No name begins so.
    """
    names = [name for name, _ in adapter.named_parameters()]
    if not any(name.startswith(only) for name in names):
        known = sorted({name.split(".")[0] for name in names})
        raise ConfigError(f"Expected the beginning of a name in {known} to train, got {only!r}.")
    for name, parameter in adapter.named_parameters():
        parameter.requires_grad_(name.startswith(only))


def make_optimizer(
    config: TrainingConfig, adapter: KnowledgeAdapter
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """AdamW over what is to be trained, with warm-up and a cosine.

    Args:
        config: The settings.
        adapter: What is trained.
    """
    slow: list[torch.nn.Parameter] = []
    fast: list[torch.nn.Parameter] = []
    scalars: list[torch.nn.Parameter] = []
    for name, parameter in adapter.named_parameters():
        if not parameter.requires_grad:
            continue
        # Query heads and selection start from trained weights; matrices decay, scalars do not.
        trained = ".query." in name or name.startswith(("selection.", "match."))
        group = slow if trained else fast if parameter.dim() > 1 else scalars
        group.append(parameter)
    peak = config.learning_rate
    groups: list[dict[str, Any]] = [
        {"params": fast, "lr": peak, "weight_decay": 0.01},
        {"params": scalars, "lr": 3 * peak, "weight_decay": 0.0},
        {"params": slow, "lr": peak / 3, "weight_decay": 0.01},
    ]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98))
    warmup = max(1, round(config.warmup * config.steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: rate(step, warmup, config.steps)
    )
    return optimizer, schedule


def rate(step: int, warmup: int, steps: int) -> float:
    """The share of the peak learning rate at a step."""
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return 0.02 + 0.98 * 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))
