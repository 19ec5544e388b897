"""What the processor can do."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

__all__ = ["cpu_capabilities"]


def cpu_capabilities() -> Mapping[str, bool]:
    """The CPU's instructions by PyTorch's names, such as ``avx512_bf16``.

    Older releases of PyTorch do not tell: then there are none.
    """
    tell: Callable[[], Mapping[str, bool]] | None = getattr(torch.cpu, "get_capabilities", None)
    return tell() if tell is not None else {}
