"""Checkpoints of the second stage: written whole, and found again after any cut.

Tensors are kept as safetensors and everything else as JSON: to go on in a folder of somebody
else's runs no code of theirs.
"""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler

from kblam.decoder import KnowledgeAdapter
from kblam.errors import ConfigError
from kblam.training._files import writing

__all__ = ["Checkpoint"]

_STEP = "step.json"
_STATE = "state.json"
_TENSORS = "state.safetensors"
_ADAPTER, _OPTIMIZER = "adapter.", "optimizer."


class Checkpoint:
    """The state of a run on disk, of which one whole copy is kept at any time.

    What PyTorch draws at random is no part of it: a step draws from its own number alone.

    Args:
        folder: Where it is.
        settings: The settings that the state depends on, JSON-able.
        base: ``"dtype"`` and ``"weights"`` of the base model, the latter as a digest.
    """

    def __init__(self, folder: Path, settings: dict[str, Any], base: dict[str, str]) -> None:
        self._folder = folder
        self._settings = settings
        self._base = base
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

    def check(self) -> None:
        """Refuse to go on with other settings or on another base, if there is one to go on from.

        Raises:
            ConfigError: Naming the settings that differ; or the checkpoint is damaged, or of an
                earlier kblam.
        """
        if not self.exists:
            return
        try:
            state = json.loads((self._folder / _STATE).read_text())
            settings, base = state["settings"], state["base"]
            changed = sorted(k for k, v in self._settings.items() if settings.get(k) != v)
            # The same base in other numbers, as on another device, has another digest.
            if base["dtype"] == self._base["dtype"] and base["weights"] != self._base["weights"]:
                changed.append("the weights of base_model")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._unreadable(error) from error
        if changed:
            raise ConfigError(
                f"Expected to go on from {self._folder} with the settings it was written with, but "
                f"these differ: {', '.join(changed)}. Give those settings, which are in "
                "training_config.json beside it, or another --output-dir."
            )

    def load(
        self, adapter: KnowledgeAdapter, optimizer: torch.optim.Optimizer, schedule: LRScheduler
    ) -> int:
        """Restore a run's state.

        Args:
            adapter: Changed in place, as the other two.
            optimizer: Of the adapter's numbers.
            schedule: Of the optimiser.

        Returns:
            The step to go on with.

        Raises:
            ConfigError: The checkpoint is damaged, of an earlier kblam, or of another run.
        """
        try:
            state = json.loads((self._folder / _STATE).read_text())
            tensors = load_file(self._folder / _TENSORS)
            adapter.load_state_dict(_under(tensors, _ADAPTER))
            optimizer.load_state_dict(
                {
                    "state": _by_number(_under(tensors, _OPTIMIZER)),
                    "param_groups": state["param_groups"],
                }
            )
            schedule.load_state_dict(state["schedule"])
            return int(json.loads((self._folder / _STEP).read_text())["step"])
        except (OSError, SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
            raise self._unreadable(error) from error

    def save(
        self,
        step: int,
        adapter: KnowledgeAdapter,
        optimizer: torch.optim.Optimizer,
        schedule: LRScheduler,
    ) -> None:
        """Keep a run's state; of several processes, one calls this.

        Args:
            step: The step to go on with.
            adapter: What is trained.
            optimizer: Of its numbers.
            schedule: Of the optimiser.

        Raises:
            KBLaMError: It cannot be written; the one before is as it was.
        """
        with writing(self._folder), ExitStack() as stack:
            stack.callback(_remove, self._fresh)  # what was written of it takes up room
            # A cut while an earlier one was written may have left a part of it.
            _remove(self._fresh)
            self._fresh.mkdir(parents=True)
            learned = optimizer.state_dict()
            tensors = {_ADAPTER + name: tensor for name, tensor in adapter.state_dict().items()}
            for number, values in learned["state"].items():
                tensors |= {f"{_OPTIMIZER}{number}.{name}": value for name, value in values.items()}
            save_file(
                {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
                self._fresh / _TENSORS,
            )
            state = {
                "settings": self._settings,
                "base": self._base,
                "param_groups": learned["param_groups"],
                "schedule": schedule.state_dict(),
            }
            (self._fresh / _STATE).write_text(json.dumps(state) + "\n")
            (self._fresh / _STEP).write_text(json.dumps({"step": step}))
            # A cut while writing leaves the old checkpoint whole.
            _remove(self._old)
            if self.exists:
                self._folder.rename(self._old)
            self._fresh.rename(self._folder)
            _remove(self._old)

    def _unreadable(self, error: Exception) -> ConfigError:
        return ConfigError(
            f"Expected a checkpoint of this run and this version of kblam in {self._folder}, "
            f"could not read it: {type(error).__name__}: {error!s:.500}. Begin anew in another "
            f"--output-dir; if the run had ended, --init-from {self._folder.with_name('adapter')} "
            "starts from what it learned."
        )


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin so, by the rest of their names."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def _by_number(tensors: dict[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    """What an optimiser knows of each parameter, by the parameter's number."""
    found: dict[int, dict[str, Tensor]] = defaultdict(dict)
    for name, tensor in tensors.items():
        number, _, what = name.partition(".")
        found[int(number)][what] = tensor
    return dict(found)


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
