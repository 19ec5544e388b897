"""The hidden states that a decoder's next token is made of."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["HiddenTap"]


class HiddenTap:
    """Keeps the hidden state that the output embedding last saw, (B, D).

    Args:
        model: A decoder with an output embedding.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self.last: Tensor | None = None
        head = model.get_output_embeddings()  # type: ignore[operator]
        self._hook = head.register_forward_pre_hook(self._keep)

    def _keep(self, module: torch.nn.Module, args: tuple[Tensor, ...]) -> None:
        self.last = args[0][:, -1]

    def remove(self) -> None:
        """Take the hook off."""
        self._hook.remove()
