"""The model that the settings name."""

from __future__ import annotations

from kblam.evaluation.config import RunConfig
from kblam.model import KBLaM
from kblam.weights import DEFAULT_BASE

__all__ = ["load_model"]


def load_model(config: RunConfig, *, informed: bool = True) -> KBLaM:
    """Load the model that the settings name.

    Args:
        config: The settings.
        informed: Whether with its adapter; the baselines get it without.

    Raises:
        WeightsNotFoundError: The base model or the encoder cannot be found.
        AdapterError: The adapter cannot be loaded.
    """
    return KBLaM.from_pretrained(
        config.base_model or DEFAULT_BASE,
        adapter=config.adapter if informed else None,
        encoder=config.encoder,
        device=config.device,
        grounding=config.grounding,
    )
