"""Learning curves as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kblam.errors import require

__all__ = ["plot_curve"]

_PARTS = ("words", "copy", "selection", "refusal", "divergence")


def plot_curve(rows: list[dict[str, Any]], path: Path) -> None:
    """Plot the second stage's losses, training as lines and validation as dots.

    Args:
        rows: Of ``curve.json``.
        path: The picture.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    require("matplotlib", extra="plot")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3), layout="constrained")
    for position, (part, axes) in enumerate(
        zip(_PARTS, figure.subplots(1, len(_PARTS)), strict=True)
    ):
        for stage, style in (("joint", "-"), ("validation", "o")):
            chosen = [row for row in rows if row["stage"] == stage]
            steps = [row["step"] for row in chosen]
            axes.plot(steps, [row[part] for row in chosen], style, label=stage, markersize=4)
        axes.set_title(part)
        axes.set_xlabel("step")
        axes.set_yscale("symlog", linthresh=0.01)
        axes.grid(alpha=0.3)
        if position == 0:
            axes.legend()
    figure.savefig(path, dpi=120)
