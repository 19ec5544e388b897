"""One training run in one process or several, on whatever device there is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import (
    InitProcessGroupKwargs,
    ProjectConfiguration,
    broadcast,
    gather_object,
)
from torch import nn

from kblam._digest import weights_digest
from kblam.errors import ConfigError, KBLaMError, require
from kblam.training._files import writing
from kblam.training.config import TrainingConfig

__all__ = [
    "base_dtype",
    "check_equal",
    "make_accelerator",
    "quick_products",
    "share_gradients",
    "share_weights",
]

# The main process makes the data and trains selection, while the others wait for it.
_PATIENCE = timedelta(hours=6)


def make_accelerator(config: TrainingConfig, output: Path) -> Accelerator:
    """Find the device and the other processes, and start the tracker that is asked for.

    Args:
        config: The settings.
        output: Trackers that write files do so in a folder of it.

    Raises:
        ConfigError: The device asked for is not there.
        MissingExtraError: The tracker is not installed.
        KBLaMError: Its files cannot be written.
    """
    if config.log_with is not None:
        require(config.log_with, extra=config.log_with)
    folders = ProjectConfiguration(
        project_dir=str(output), logging_dir=str(output / (config.log_with or "logs"))
    )
    accelerator = Accelerator(
        cpu=config.device == "cpu",
        # The base's numbers are chosen below, whatever ``accelerate config`` says.
        mixed_precision="no",
        log_with=config.log_with,
        project_config=folders,
        kwargs_handlers=[InitProcessGroupKwargs(timeout=_PATIENCE)],
    )
    _check_device(config.device, accelerator.device)
    if config.log_with is not None:
        with writing(output / config.log_with):
            accelerator.init_trackers("")
    return accelerator


def _check_device(asked: str | None, found: torch.device) -> None:
    if asked is None:
        return
    wanted = torch.device(asked)
    if wanted.type != found.type or wanted.index not in (None, found.index or 0):
        raise ConfigError(
            f"Expected to train on {asked!r}, the device to be had is {str(found)!r}. Leave "
            "--device out to take that one; choose among several with CUDA_VISIBLE_DEVICES."
        )


def base_dtype(device: torch.device) -> torch.dtype:
    """The numbers of the frozen base; the adapter itself is trained in float32.

    Half the bytes and, where the machine multiplies bfloat16 natively, a third of the time or
    less. GPUs that would only imitate it keep float32.
    """
    if device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.float32
    return torch.bfloat16


@contextmanager
def quick_products(device: torch.device) -> Iterator[None]:
    """Let a GPU multiply float32 matrices, the adapter's, as TF32 inside the ``with`` block.

    Products keep 10 bits of each factor, more than the base's own bfloat16.
    """
    before = torch.get_float32_matmul_precision()
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def share_weights(accelerator: Accelerator, module: nn.Module) -> None:
    """Give all processes the main process's weights; each waits until it has them."""
    if accelerator.num_processes > 1:
        for parameter in module.parameters():
            parameter.data.copy_(broadcast(parameter.data.contiguous()))


def share_gradients(accelerator: Accelerator, module: nn.Module) -> None:
    """Average gradients over the processes, in one message.

    A parameter that a process had no use for counts as a gradient of zero there: every process
    sends the same number of numbers, whatever its batch was.
    """
    if accelerator.num_processes == 1:
        return
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    parts = [p.grad if p.grad is not None else torch.zeros_like(p) for p in trained]
    mean = accelerator.reduce(torch.cat([part.flatten() for part in parts]), reduction="mean")
    sizes = [parameter.numel() for parameter in trained]
    for parameter, part in zip(trained, mean.split(sizes), strict=True):
        parameter.grad = part.view_as(parameter)


def check_equal(accelerator: Accelerator, module: nn.Module) -> None:
    """Check that all processes have trained the same weights.

    Raises:
        KBLaMError: They differ, which must never be.
    """
    if len(set(gather_object([weights_digest(module)]))) > 1:
        raise KBLaMError(
            f"The {accelerator.num_processes} processes ended with different weights. "
            "Train in one process, and report this as a bug."
        )
