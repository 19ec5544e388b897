"""Files that are whole or not there at all."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from kblam.errors import ConfigError, KBLaMError

__all__ = ["alone_in", "read_tensors", "replacing", "write_tensors", "writing"]

_log = logging.getLogger(__name__)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder, which is made if need be, inside the ``with`` block.

    A run that is killed leaves no lock behind.

    Raises:
        ConfigError: Another run is in it, or nothing can be written there.
    """
    lock = FileLock(folder / "training.lock", timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise ConfigError(
            f"Expected to train in {folder} alone, but another run is under way there. Wait for "
            "its end, or give another --output-dir."
        ) from error
    except OSError as error:
        raise ConfigError(
            f"Expected a folder to write to at {folder}, got: {error}. Give another --output-dir."
        ) from error
    except NotImplementedError:
        _log.warning("Files cannot be locked in %s: see that no other run is there.", folder)
    try:
        yield
    finally:
        lock.release()


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say of a file or folder that cannot be written what to do about it.

    Raises:
        KBLaMError: The disk is full, say.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise KBLaMError(
            f"Expected to write {path}, could not: {error}. What was there before is as it was. "
            "Make room, or look at who may write there, and give the same command again."
        ) from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write a file beside its place; it is put there once it is whole.

    A run that is cut while it writes leaves the file from before, or none, and other processes
    never read half of one.

    Args:
        path: The file; its folder is made if need be.

    Yields:
        Where to write, with the same ending.

    Raises:
        KBLaMError: It cannot be written.
    """
    fresh = path.with_name(f"{path.stem}.new{path.suffix}")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield fresh
            fresh.replace(path)
        finally:
            fresh.unlink(missing_ok=True)


def read_tensors(path: Path, made_of: str) -> dict[str, Tensor] | None:
    """What `write_tensors` wrote, or None where that was made of something else, or is damaged.

    Args:
        path: A file of it.
        made_of: Names what the tensors must have been made of.
    """
    try:
        with safe_open(path, framework="pt") as file:
            if (file.metadata() or {}).get("made_of") != made_of:
                return None
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        _log.warning("The file %s is damaged: %s.", path, error)
        return None


def write_tensors(path: Path, tensors: dict[str, Tensor], made_of: str) -> None:
    """Keep tensors in a file.

    Args:
        path: The file.
        tensors: By name.
        made_of: Names all that they depend on.
    """
    with replacing(path) as fresh:
        save_file(tensors, fresh, metadata={"made_of": made_of})
