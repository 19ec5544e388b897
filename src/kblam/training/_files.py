"""Files that are whole or not there at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

__all__ = ["read_tensors", "replacing", "write_tensors"]


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write a file beside its place; it is put there once it is whole.

    A run that is cut while it writes leaves the file from before, or none, and other processes
    never read half of one.

    Args:
        path: The file; its folder is made if need be.

    Yields:
        Where to write, with the same ending.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.stem}.new{path.suffix}")
    yield fresh
    fresh.replace(path)


def read_tensors(path: Path, made_of: str) -> dict[str, Tensor] | None:
    """What `write_tensors` wrote, or None where that was made of something else.

    Args:
        path: A file of it.
        made_of: Names what the tensors must have been made of.
    """
    with safe_open(path, framework="pt") as file:
        if (file.metadata() or {}).get("made_of") != made_of:
            return None
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def write_tensors(path: Path, tensors: dict[str, Tensor], made_of: str) -> None:
    """Keep tensors in a file.

    Args:
        path: The file.
        tensors: By name.
        made_of: Names all that they depend on.
    """
    with replacing(path) as fresh:
        save_file(tensors, fresh, metadata={"made_of": made_of})
