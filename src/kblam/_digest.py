"""A digest of weights: equal for equal ones, whatever they are called."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import torch
from torch import nn

__all__ = ["values_digest", "weights_digest"]


def weights_digest(module: nn.Module, before: str = "") -> str:
    """SHA-256 of a text and of a module's tensors, their names, shapes and formats."""
    digest = hashlib.sha256(before.encode())
    for name, tensor in sorted(module.state_dict().items()):
        numbers = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(numbers.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def values_digest(values: Any) -> str:
    """SHA-256 of JSON-able values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
