"""Pictures of which facts a model read: attention heatmaps.

Needs matplotlib: ``pip install "kblam[plot]"``.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from kblam.errors import ConfigError, require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

    from kblam.answer import Answer, AttentionTrace

__all__ = ["draw_attention", "save_attention"]

FloatArray = npt.NDArray[np.floating]

# One hue from pale to dark: equal steps look equal, also in print and to colour-blind readers.
COLOURS = "Blues"
LABEL_WIDTH = 30  # of the entity and of the property, each
MAX_TOKENS = 48
# Below this many columns each cell has room for its number.
MAX_ANNOTATED_COLUMNS = 12


def draw_attention(answer: Answer, *, max_facts: int = 12) -> Figure:
    """Draw which facts an answer was read from.

    The left half shows, for every knowledge layer, how much attention each fact received at the end
    of the question; what is missing to 1 went to the prompt. The right half shows, for every
    generated token, which fact was read while it was written. Both have one row per fact, the most
    read fact first.

    Args:
        answer: An answer that was asked for with ``trace=True``.
        max_facts: Draw the facts that received the most attention, at most so many.

    Returns:
        The figure.

    Raises:
        ConfigError: The answer carries no trace, the trace names no fact, or ``max_facts`` is not
            positive.
        MissingExtraError: matplotlib is not installed.
    """
    trace = answer.attention
    if trace is None:
        raise ConfigError(
            "Expected an answer with an attention trace, got one without. "
            "Ask with trace=True: model.ask(question, trace=True)"
        )
    if max_facts < 1:
        raise ConfigError(f"Expected max_facts to be at least 1, got {max_facts}.")
    if not trace.facts:
        raise ConfigError(
            "Expected an attention trace over at least one fact, got none. "
            "Attach a store that has facts before asking."
        )
    figure_module = require("matplotlib.figure", extra="plot")
    rows = _most_read(trace, max_facts)
    has_tokens = len(trace.tokens) > 0
    figure: Figure = figure_module.Figure(figsize=_size(trace, len(rows)), layout="constrained")
    if has_tokens:
        ratios = [_layer_share(trace), _token_share(trace)]
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=ratios)
        _draw_tokens(right, trace, rows)
        halves = [left, right]
    else:
        left = figure.subplots(1, 1)
        halves = [left]
    image = _draw_layers(left, trace, rows)
    bar = figure.colorbar(image, ax=halves, fraction=0.03, pad=0.01)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=7, length=0)
    bar.set_label("attention to the fact", fontsize=7)
    figure.suptitle(_title(answer), fontsize=10, x=0.01, ha="left")
    return figure


def save_attention(answer: Answer, path: str | Path, *, max_facts: int = 12) -> Path:
    """Write the picture of :func:`draw_attention` to a file.

    Args:
        answer: An answer that was asked for with ``trace=True``.
        path: Where to write; the ending decides the format (``.png``, ``.svg``, ``.pdf``).
        max_facts: Draw the facts that received the most attention, at most so many.

    Returns:
        The path written to.

    Raises:
        ConfigError: As :func:`draw_attention`, or matplotlib writes no such format.
        MissingExtraError: matplotlib is not installed.
    """
    target = Path(path)
    figure = draw_attention(answer, max_facts=max_facts)
    formats = figure.canvas.get_supported_filetypes()
    if target.suffix.lstrip(".").lower() not in formats:
        raise ConfigError(
            f"Expected a picture file ending in one of {', '.join(sorted(formats))}, "
            f"got {target.name!r}. Use, for example, {target.stem}.png"
        )
    figure.savefig(target, dpi=150)
    return target


def _most_read(trace: AttentionTrace, limit: int) -> list[int]:
    """Indices of the most read facts, by their largest weight in either half, descending."""
    peak = np.zeros(len(trace.facts))
    for weights in (trace.by_layer, trace.by_token):  # (layers, facts), (tokens, facts)
        if weights.size:
            peak = np.maximum(peak, np.asarray(weights, dtype=np.float64).max(axis=0))
    return [int(index) for index in np.argsort(-peak, kind="stable")[:limit]]


def _draw_layers(axes: Axes, trace: AttentionTrace, rows: list[int]) -> AxesImage:
    weights = np.asarray(trace.by_layer, dtype=np.float64)[:, rows].T  # (rows, layers)
    image = _draw_cells(axes, weights)
    axes.set_title("attention at the end of the question", fontsize=9)
    axes.set_xlabel("knowledge layer", fontsize=8)
    axes.set_xticks(range(len(trace.layers)), [str(layer) for layer in trace.layers], fontsize=8)
    labels = [_fact_label(trace, row) for row in rows]
    axes.set_yticks(range(len(rows)), labels, fontsize=8)
    return image


def _draw_tokens(axes: Axes, trace: AttentionTrace, rows: list[int]) -> None:
    tokens = [_token_label(token) for token in trace.tokens[:MAX_TOKENS]]
    weights = np.asarray(trace.by_token, dtype=np.float64)[:MAX_TOKENS, rows].T  # (rows, tokens)
    _draw_cells(axes, weights)
    axes.set_title("read while writing the answer", fontsize=9)
    axes.set_xlabel("generated token", fontsize=8)
    axes.set_xticks(range(len(tokens)), tokens, fontsize=8, rotation=55, ha="right")
    axes.tick_params(axis="y", labelleft=False)


def _draw_cells(axes: Axes, weights: FloatArray) -> AxesImage:
    """Draw one half; `weights` is (facts, columns), each between 0 and 1."""
    image = axes.imshow(weights, cmap=COLOURS, vmin=0.0, vmax=1.0, aspect="auto")
    axes.set_xticks(np.arange(weights.shape[1] + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(weights.shape[0] + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="#dddddd", linewidth=0.6)
    axes.tick_params(which="both", length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if weights.shape[1] <= MAX_ANNOTATED_COLUMNS:
        _write_numbers(axes, weights)
    return image


def _write_numbers(axes: Axes, weights: FloatArray) -> None:
    for (row, column), weight in np.ndenumerate(weights):
        if weight >= 0.005:
            colour = "white" if weight > 0.6 else "#333333"
            axes.text(
                column, row, f"{weight:.2f}", ha="center", va="center", fontsize=6.5, color=colour
            )


def _fact_label(trace: AttentionTrace, row: int) -> str:
    fact = trace.facts[row]
    entity, name = (
        part if len(part) <= LABEL_WIDTH else part[: LABEL_WIDTH - 1].rstrip() + "…"
        for part in (fact.entity, fact.property)
    )
    return f"{entity} · {name}".replace("$", r"\$")


def _token_label(token: str) -> str:
    if not token:
        return "(end)"  # a special token: it has no text
    # A dollar sign would start a formula.
    return token.replace("\n", "⏎").strip().replace("$", r"\$") or "␣"


def _title(answer: Answer) -> str:
    return textwrap.fill(answer.text.replace("$", r"\$"), 110, max_lines=2, placeholder=" …")


def _layer_share(trace: AttentionTrace) -> float:
    return max(len(trace.layers), 4) * 1.6


def _token_share(trace: AttentionTrace) -> float:
    return max(min(len(trace.tokens), MAX_TOKENS), 6)


def _size(trace: AttentionTrace, num_rows: int) -> tuple[float, float]:
    """Inches, so that a cell stays about as wide and as high whatever is drawn."""
    columns = _layer_share(trace) + (_token_share(trace) if trace.tokens else 0.0)
    return 4.5 + 0.33 * columns, 2.2 + 0.3 * num_rows
