"""The learning curve: as JSON, as a picture, and to whoever else keeps it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from kblam.errors import ConfigError, require
from kblam.training._files import replacing

__all__ = ["Curve", "plot_curve"]

_PARTS = ("words", "gate", "copy", "selection", "matching", "refusal", "divergence")
_FIRST = ("matching", "selection")
_AROUND = 20
_LINEAR_BELOW = 0.01
_MOST_TICKS = 5


class Curve:
    """The learning curve of a run, one row a step.

    Args:
        folder: Of ``curve.json``, which is gone on with, and ``curve.png``.
        report: Called with the numbers of each new row and its step.

    Raises:
        ConfigError: The file there is no learning curve.
    """

    def __init__(
        self, folder: Path, report: Callable[[dict[str, float], int], None] | None = None
    ) -> None:
        self._file = folder / "curve.json"
        self._picture = folder / "curve.png"
        self._report = report
        self.rows: list[dict[str, Any]] = []
        if self._file.exists():
            self.rows = _read(self._file)

    def add(self, stage: str, step: int, numbers: dict[str, float]) -> None:
        """Append a row.

        Args:
            stage: ``"matching"``, ``"selection"``, ``"joint"`` or ``"validation"``.
            step: Of the stage.
            numbers: By name.
        """
        self.rows.append({"stage": stage, "step": step, **numbers})
        if self._report is not None:
            self._report({f"{stage}/{name}": value for name, value in numbers.items()}, step)

    def clear(self) -> None:
        """Forget everything: the run begins anew."""
        self.rows = []

    def cut(self, step: int) -> None:
        """Forget joint steps from ``step`` on: they are about to be taken again."""
        self.rows = [r for r in self.rows if r["stage"] in _FIRST or r["step"] < step]

    def write(self) -> None:
        """Write the file, and the picture once there is something to see in it.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
        with replacing(self._file) as path:
            path.write_text(json.dumps(self.rows) + "\n")
        if any(row["stage"] == "joint" for row in self.rows):
            with replacing(self._picture) as path:
                plot_curve(self.rows, path)


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        rows = json.loads(path.read_text())
        if all({"stage", "step"} <= row.keys() for row in rows):
            return rows  # type: ignore[no-any-return]
        found = "rows without a stage or a step"
    except (ValueError, TypeError, AttributeError) as error:
        found = f"{type(error).__name__}: {error!s:.200}"
    raise ConfigError(
        f"Expected the learning curve of this run in {path}, got {found}. Move the file away to go "
        "on without what it held."
    )


def plot_curve(rows: list[dict[str, Any]], path: Path) -> None:
    """Plot the second stage's losses: steps faint, their running mean strong, validation as dots.

    Args:
        rows: Of ``curve.json``.
        path: The picture.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    require("matplotlib", extra="plot")
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    parts = [part for part in _PARTS if any(part in row for row in rows)]
    figure = Figure(figsize=(16, 3), layout="constrained")
    for position, (part, axes) in enumerate(
        zip(parts, figure.subplots(1, len(parts), squeeze=False)[0], strict=True)
    ):
        steps, losses = _points(rows, "joint", part)
        # One batch says little: the mean of those around it can be read.
        axes.plot(steps, losses, color="tab:blue", alpha=0.2, linewidth=0.8)
        axes.plot(steps, _smooth(losses), color="tab:blue", label="joint")
        at, seen = _points(rows, "validation", part)
        if any(seen):  # pairs and general prompts have no part in it
            axes.plot(at, seen, "o", color="tab:orange", label="validation", markersize=4)
        axes.set_title(part)
        axes.set_xlabel("step")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
        axes.set_yscale("symlog", linthresh=_LINEAR_BELOW)
        axes.set_yticks(ticks := _ticks([*losses, *seen]), [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        axes.set_ylim(ticks[0], ticks[-1])
        axes.grid(alpha=0.3)
        if position == 0:
            axes.legend()
    figure.savefig(path, dpi=120)


def _points(rows: list[dict[str, Any]], stage: str, part: str) -> tuple[list[int], list[float]]:
    chosen = [row for row in rows if row["stage"] == stage and part in row]
    return [row["step"] for row in chosen], [row[part] for row in chosen]


def _smooth(losses: list[float]) -> list[float]:
    """The mean of each and of those around it, of a short run a tenth on either side."""
    around = min(_AROUND, len(losses) // 10)
    return [
        float(np.mean(losses[max(0, place - around) : place + around + 1]))
        for place in range(len(losses))
    ]


def _ticks(losses: list[float]) -> list[float]:
    """Round numbers around some losses, from just below to just above them all."""
    known = [max(0.0, number) for number in losses if np.isfinite(number)] or [1.0]
    powers = range(round(np.log10(_LINEAR_BELOW)), int(np.log10(max(*known, 1.0))) + 2)
    marks = [0.0, *(digit * 10.0**power for power in powers for digit in (1, 2, 5))]
    low = [mark for mark in marks if mark <= min(known)][-1]
    high = next(mark for mark in marks if mark >= max(known) and mark > low)
    inside = [mark for mark in marks if low < mark < high]
    # One a factor of ten where there would be a crowd.
    if len(inside) > _MOST_TICKS:
        inside = [mark for mark in inside if f"{mark:g}".strip("0.") == "1"]
    return [low, *inside, high]
