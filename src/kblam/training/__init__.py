"""Training knowledge adapters: the base stays frozen."""

from typing import Any

from kblam.training.config import TrainingConfig

__all__ = ["TrainingConfig", "train"]


def __getattr__(name: str) -> Any:
    # The loop needs the "train" extra; the settings do not.
    if name == "train":
        from kblam.errors import require

        require("accelerate", extra="train")
        from kblam.training.loop import train

        return train
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
