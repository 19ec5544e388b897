"""Confidence intervals by resampling the questions (Efron's percentile bootstrap)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["ratio_interval"]

_Floats = npt.NDArray[np.float64]


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
