"""Random numbers that a seed tells, on the devices that a generation draws them on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["seeded"]


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Draw random numbers from a seed, on the CPU and on a device.

    Both generators, where the device is of CUDA, are afterwards as they were. Those of other
    devices are left alone: to save and set them would start each of them.

    Args:
        seed: The same one gives the same numbers.
        device: Where the model is.
    """
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(cuda, device_type="cuda"):
        torch.default_generator.manual_seed(seed)
        if cuda:
            torch.cuda.default_generators[device.index].manual_seed(seed)
        elif device.type != "cpu":
            torch.get_device_module(device).manual_seed(seed)
        yield
