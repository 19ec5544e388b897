"""A suite's results as pictures. Needs matplotlib: ``pip install "kblam[plot]"``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kblam.errors import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_suite"]

_Result = Mapping[str, Any]

# Okabe and Ito's colours, which colour-blind readers can tell apart; a marker beside each.
_STYLES = {
    "kblam": ("#0072B2", "o"),
    "base": ("#7F7F7F", ""),
    "rag": ("#D55E00", "s"),
    "in-context": ("#009E73", "^"),
    "bm25": ("#CC79A7", "D"),
}
# Curves of one method with several top_k: the first is drawn through, the others broken.
_LINES = ("-", "--", ":", "-.")
_SIZES = ("#9ECAE1", "#4292C6", "#08519C", "#08306B")
_DPI = 150


def draw_suite(outcome: _Result, folder: Path) -> list[Path]:
    """Draw ``quality.png``, ``refusal.png`` and, where it was traced, ``attention.png``.

    Args:
        outcome: What `run_suite` gave.
        folder: Where to write.

    Returns:
        The files written.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    # The replies of a cached prefix are those of in-context: its curve would hide the other.
    results = [r for r in outcome["questions"] if r["method"] != "cached-prefix"]
    pictures: dict[str, Figure] = {}
    if results:
        pictures["quality"] = _by_size(
            results,
            {
                "contains": "answers that contain the value",
                "recall_at_1": "right fact ranked first",
            },
        )
        pictures["refusal"] = _by_size(
            results, {"refusal_precision": "refusal precision", "refusal_recall": "refusal recall"}
        )
    traced = [r for r in outcome["attention"] if r["layers"]]
    if traced:
        pictures["attention"] = _by_layer(traced)
    files = []
    for name, figure in pictures.items():
        files.append(folder / f"{name}.png")
        figure.savefig(files[-1], dpi=_DPI)
    return files


def _by_size(results: Sequence[_Result], measures: Mapping[str, str]) -> Figure:
    """A panel per measure: its value against the number of facts, a curve per method."""
    figure, panels = _panels(len(measures))
    curves = _curves(results)
    sizes = sorted({r["num_facts"] for r in results if r["method"] != "base"})
    for axes, (name, title) in zip(panels, measures.items(), strict=True):
        for place, curve in enumerate(curves):
            if name.startswith("recall") and curve.order:
                continue  # top_k changes what is pasted, not what is found
            _draw_curve(axes, name, curve, dodge=1.0 + 0.025 * (place - (len(curves) - 1) / 2))
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("facts", fontsize=9)
        if sizes:
            axes.set_xscale("log")
            axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
            axes.set_xlim(sizes[0] / 1.4, sizes[-1] * 1.4)
        axes.minorticks_off()
    handles = {
        label: handle
        for axes in panels
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        handles.values(),
        handles.keys(),
        loc="outside right center",
        frameon=False,
        fontsize=8,
        handlelength=3,
    )
    return figure


@dataclass(frozen=True)
class _Curve:
    """The results of one method with one setting, by size.

    Attributes:
        label: What the legend calls it.
        method: The method.
        order: Which of the method's curves it is, from 0.
        rows: The results, the smallest number of facts first.
    """

    label: str
    method: str
    order: int
    rows: tuple[_Result, ...]


def _curves(results: Sequence[_Result]) -> list[_Curve]:
    groups: dict[str, list[_Result]] = {}
    for result in results:
        groups.setdefault(result["label"], []).append(result)
    found: list[_Curve] = []
    for label, rows in groups.items():
        method = rows[0]["method"]
        order = sum(curve.method == method for curve in found)
        by_size = tuple(sorted(rows, key=lambda r: r["num_facts"]))
        found.append(_Curve(label, method, order, by_size))
    return found


def _draw_curve(axes: Axes, name: str, curve: _Curve, *, dodge: float) -> None:
    rows = [row for row in curve.rows if row[name] is not None]
    if not rows:
        return
    colour, marker = _STYLES[curve.method]
    if curve.method == "base":
        axes.axhline(rows[0][name], color=colour, linestyle="--", linewidth=1.2, label="base")
        return
    values = [row[name] for row in rows]
    ends = [
        row["intervals"].get(name, (value, value)) for row, value in zip(rows, values, strict=True)
    ]
    bars = [
        [max(value - low, 0.0) for value, (low, _) in zip(values, ends, strict=True)],
        [max(high - value, 0.0) for value, (_, high) in zip(values, ends, strict=True)],
    ]
    axes.errorbar(
        [row["num_facts"] * dodge for row in rows],
        values,
        yerr=bars,
        label=curve.label,
        color=colour,
        marker=marker,
        markersize=5,
        linestyle=_LINES[curve.order % len(_LINES)],
        linewidth=1.4,
        elinewidth=0.8,
        capsize=2,
    )


def _by_layer(results: Sequence[_Result]) -> Figure:
    """The gold fact's share of the attention and how often it gets the most, by layer."""
    figure, panels = _panels(2)
    titles = {
        "gold_share": "attention to the right fact",
        "recall_at_1": "right fact gets the most",
    }
    for axes, (name, title) in zip(panels, titles.items(), strict=True):
        for result, colour in zip(results, _spread(_SIZES, len(results)), strict=True):
            axes.plot(
                result["layers"],
                result[name],
                color=colour,
                marker="o",
                markersize=4,
                linewidth=1.4,
                label=f"{result['num_facts']:,} facts",
            )
            ends = result["intervals"].get(name)
            if ends:
                low, high = zip(*ends, strict=True)
                axes.fill_between(
                    result["layers"], low, high, color=colour, alpha=0.15, linewidth=0
                )
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("knowledge layer", fontsize=9)
        axes.set_xticks(results[0]["layers"])
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside right center", frameon=False, fontsize=8, handlelength=3
    )
    return figure


def _spread(colours: Sequence[str], count: int) -> list[str]:
    return [colours[min(i, len(colours) - 1)] for i in range(count)]


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    """Panels side by side, shares from 0 to 1 on their y axes."""
    module = require("matplotlib.figure", extra="plot")
    figure: Figure = module.Figure(figsize=(4.2 * count + 1.6, 3.6), layout="constrained")
    panels: list[Axes] = list(figure.subplots(1, count, squeeze=False)[0])
    for axes in panels:
        axes.set_ylim(-0.03, 1.03)
        axes.grid(axis="y", color="#dddddd", linewidth=0.6)
        axes.tick_params(labelsize=8)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    return figure, panels
