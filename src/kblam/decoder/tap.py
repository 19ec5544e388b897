"""The hidden states that a decoder's next token is made of."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["HiddenTap"]


class HiddenTap:
    """Keeps the hidden states that the output embedding last saw.

    Args:
        model: A decoder with an output embedding.

    Attributes:
        position: Which of a row's tokens is looked at, the last one after each forward pass. It is
            set where several tokens passed at once and are looked at one by one.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self.position = -1
        self._states: Tensor | None = None
        head = model.get_output_embeddings()  # type: ignore[operator]
        self._hook = head.register_forward_pre_hook(self._keep)

    def _keep(self, module: torch.nn.Module, args: tuple[Tensor, ...]) -> None:
        self._states, self.position = args[0], -1

    @property
    def last(self) -> Tensor | None:
        """The hidden state at the position, (B, D); None before the first forward pass."""
        return None if self._states is None else self._states[:, self.position]

    def remove(self) -> None:
        """Take the hook off."""
        self._hook.remove()
