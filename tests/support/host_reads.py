"""Counting where Python reads a tensor: on a GPU each waits for all that was asked of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_READING = {
    "__bool__", "__contains__", "__float__", "__int__", "allclose", "cpu", "equal", "item",
    "masked_scatter", "masked_select", "nonzero", "numpy", "tolist", "unique",
}  # fmt: skip
_INDEXING = {"__getitem__", "__setitem__"}


class HostReads(TorchFunctionMode):
    """Notes by name what reads a tensor, or takes what a mask of truths shows, which does so too.

    Attributes:
        found: The names, in order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        if name in _READING or (name in _INDEXING and _has_mask(args[1])):
            self.found.append(name)
        return func(*args, **(kwargs or {}))


def _has_mask(index: Any) -> bool:
    parts = index if isinstance(index, tuple) else (index,)
    return any(isinstance(part, Tensor) and part.dtype == torch.bool for part in parts)


@contextmanager
def reads_of(kind: type, method: str) -> Iterator[list[list[str]]]:
    """What each call of a method reads, of all objects of a class."""
    calls: list[list[str]] = []
    plain: Callable[..., Any] = getattr(kind, method)

    def counted(*args: Any, **kwargs: Any) -> Any:
        with HostReads() as reads:
            found = plain(*args, **kwargs)
        calls.append(reads.found)
        return found

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(kind, method, counted)
        yield calls
