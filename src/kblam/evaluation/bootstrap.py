"""Confidence intervals by resampling the questions (Efron's percentile bootstrap)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["Parts", "ratio", "ratio_interval", "ratios"]

_Floats = npt.NDArray[np.float64]
# Numerators and denominators, one of each per question.
Parts = tuple[Sequence[float], Sequence[float]]


def ratio(parts: Parts) -> float | None:
    """The sum of the numerators over that of the denominators; None where nothing counts."""
    top, bottom = map(sum, parts)
    return top / bottom if bottom else None


def ratios(
    figures: Mapping[str, Parts], *, resamples: int, seed: int
) -> tuple[dict[str, float | None], dict[str, tuple[float, float]]]:
    """Work out figures and their intervals.

    Args:
        figures: By name, the numerators and denominators.
        resamples: As of `ratio_interval`; 0 leaves the intervals out.
        seed: Likewise.

    Returns:
        By name, the figures, and the intervals of those that have one.
    """
    intervals = {
        name: ends
        for name, (top, bottom) in figures.items()
        if resamples and (ends := ratio_interval(top, bottom, resamples=resamples, seed=seed))
    }
    return {name: ratio(parts) for name, parts in figures.items()}, intervals


def ratio_interval(
    numerator: npt.ArrayLike,
    denominator: npt.ArrayLike,
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float] | None:
    """The interval of sum(numerator) / sum(denominator) over resampled questions.

    A mean over some of the questions is such a ratio: the denominator is 1 where the question
    counts. So is precision, whose denominator varies from resample to resample.

    Args:
        numerator: One number per question, shape (N,).
        denominator: One number per question, not negative, shape (N,).
        resamples: How many times the questions are drawn anew, with replacement.
        level: The share of resamples that the interval covers.
        seed: The seed of the draws.

    Returns:
        The lower and the upper end; None where no question counts.
    """
    top: _Floats = np.asarray(numerator, dtype=np.float64)
    bottom: _Floats = np.asarray(denominator, dtype=np.float64)
    if top.size == 0 or bottom.sum() == 0:
        return None
    generator = np.random.default_rng(seed)
    ratios = np.empty(resamples)
    for i in range(resamples):
        rows = generator.integers(top.size, size=top.size)
        below = bottom[rows].sum()
        # A resample in which nothing counts says nothing about the ratio.
        ratios[i] = top[rows].sum() / below if below else np.nan
    ratios = ratios[~np.isnan(ratios)]
    if ratios.size == 0:
        return None
    tail = (1 - level) / 2
    low, high = np.quantile(ratios, (tail, 1 - tail))
    return float(low), float(high)
