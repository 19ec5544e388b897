from __future__ import annotations

import numpy as np
import pytest

from kblam.evaluation.bootstrap import ratio, ratio_interval, ratios


def test_the_interval_of_a_mean_is_as_wide_as_theory_says() -> None:
    hits = np.repeat([1.0, 0.0], [320, 80])
    interval = ratio_interval(hits, np.ones(400))
    assert interval is not None
    # Normal approximation: 0.8 +- 1.96 * sqrt(0.8 * 0.2 / 400) = 0.8 +- 0.0392
    assert interval == pytest.approx((0.7608, 0.8392), abs=0.01)


def test_a_certain_ratio_has_no_width() -> None:
    assert ratio_interval([1, 1, 0], [1, 1, 0]) == (1.0, 1.0)


def test_nothing_to_count_gives_no_interval() -> None:
    assert ratio_interval([], []) is None
    assert ratio_interval([0, 0], [0, 0]) is None


def test_the_seed_decides() -> None:
    hits, ones = [1, 0, 1, 1, 0, 1, 0], [1] * 7
    assert ratio_interval(hits, ones, seed=1) == ratio_interval(hits, ones, seed=1)
    assert ratio_interval(hits, ones, level=0.5) != ratio_interval(hits, ones, level=0.99)


def test_figures_and_intervals_go_by_name() -> None:
    figures = {"share": ([1.0, 0.0, 1.0], [1.0, 1.0, 2.0]), "nothing": ([0.0], [0.0])}
    values, intervals = ratios(figures, resamples=50, seed=2)
    assert values == {"share": 0.5, "nothing": None}
    assert ratio(figures["share"]) == 0.5
    assert intervals == {"share": ratio_interval(*figures["share"], resamples=50, seed=2)}
    assert ratios(figures, resamples=0, seed=2) == (values, {})
