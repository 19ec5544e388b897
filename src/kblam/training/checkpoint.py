"""Checkpoints of the second stage: written whole, and found again after any cut."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from accelerate import Accelerator

__all__ = ["Checkpoint"]

_STEP = "step.json"


class Checkpoint:
    """The state of a run on disk, of which one whole copy is kept at any time.

    Args:
        folder: Where it is.
        accelerator: Saves and loads what is registered with it.
    """

    def __init__(self, folder: Path, accelerator: Accelerator) -> None:
        self._folder = folder
        self._accelerator = accelerator
        # Where one is written, and where the one before it waits meanwhile.
        self._fresh = folder.with_name(f"{folder.name}.new")
        self._old = folder.with_name(f"{folder.name}.old")

    @property
    def exists(self) -> bool:
        """Whether there is one to go on from."""
        return self._folder.exists()

    def recover(self) -> None:
        """Put back the checkpoint that a cut between two renames left aside."""
        if self._old.exists() and not self.exists:
            self._old.rename(self._folder)

    def register(self, *things: Any) -> None:
        """Name what has state: it is saved and loaded in this order."""
        self._accelerator.register_for_checkpointing(*map(_Stateful, things))

    def load(self) -> int:
        """Restore what is registered.

        Returns:
            The step to go on with.
        """
        self._accelerator.load_state(str(self._folder))
        return int(json.loads((self._folder / _STEP).read_text())["step"])

    def save(self, step: int) -> None:
        """Save what is registered; of several processes, one calls this.

        Args:
            step: The step to go on with.
        """
        # A cut while an earlier one was written may have left a part of it.
        _remove(self._fresh)
        self._accelerator.save_state(str(self._fresh))
        (self._fresh / _STEP).write_text(json.dumps({"step": step}))
        # A cut while writing leaves the old checkpoint whole.
        _remove(self._old)
        if self.exists:
            self._folder.rename(self._old)
        self._fresh.rename(self._folder)
        _remove(self._old)


class _Stateful:
    """Gives accelerate the state of something without handing over the thing itself."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def state_dict(self) -> dict[str, Any]:
        """The inner state."""
        return dict(self._inner.state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the inner state."""
        self._inner.load_state_dict(state)


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
