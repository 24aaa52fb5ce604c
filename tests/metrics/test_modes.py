"""Modes and their KL against what is known of them."""

import numpy as np
import pytest

from jaxgen.core.errors import UsageError
from jaxgen.metrics.modes import label_modes, mode_kl, point_modes, stacked_modes

SQUARE = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])


def test_points_count_within_three_deviations_of_a_centre():
    x = np.array([[0.0, 0.29], [1.0, 0.31], [0.0, 1.0], [0.5, 0.5]])
    figures = point_modes(x, SQUARE, 0.1)
    assert (figures["modes"], figures["good"]) == (2, 0.5)
    assert figures["kl"] == pytest.approx(np.log(2))  # two of four, evenly


def test_draws_of_the_data_have_the_good_share_and_the_kl_of_chance():
    """In the plane a share of 1 − exp(−9/2) lies within three deviations; the KL of n draws is about (k − 1)/2n."""
    draw, n, figures = np.random.default_rng(0), 4000, []
    for _ in range(50):
        figures.append(point_modes(SQUARE[draw.integers(4, size=n)] + 0.05 * draw.normal(size=(n, 2)), SQUARE, 0.05))
    assert {f["modes"] for f in figures} == {4}
    assert np.mean([f["good"] for f in figures]) == pytest.approx(1 - np.exp(-4.5), abs=5e-4)
    assert np.mean([f["kl"] for f in figures]) == pytest.approx(3 / (2 * n), rel=0.3)


def test_collapse_to_one_mode_of_k_costs_log_k():
    assert point_modes(np.zeros((5, 2)), SQUARE, 0.1) == {"modes": 1, "good": 1, "kl": pytest.approx(np.log(4))}
    assert point_modes(np.full((5, 2), 9.0), SQUARE, 0.1) == {"modes": 0, "good": 0, "kl": np.inf}


def test_kl_is_zero_for_the_datas_shares_and_infinite_outside():
    shares = np.array([0.5, 0.3, 0.2, 0.0])
    assert mode_kl(np.array([50, 30, 20, 0]), shares) == pytest.approx(0, abs=1e-12)
    assert mode_kl(np.array([10, 0, 0, 0]), shares) == pytest.approx(np.log(2))
    assert label_modes(np.array([3, 0]), shares) == {"modes": 2, "kl": np.inf}


def test_stacks_count_in_thousand_modes_and_the_floor_is_that_of_chance():
    """Each stack once is all modes in equal shares; n draws of equal shares have a KL of about 999/2n."""
    every = np.stack(np.unravel_index(np.arange(1000), (10, 10, 10)), axis=1)
    figures = stacked_modes(np.tile(every, (10, 1)), every)
    assert (figures["modes"], figures["kl"]) == (1000, pytest.approx(0, abs=1e-12))
    assert figures["floor_modes"] == pytest.approx(1000, abs=3)
    assert figures["floor_kl"] == pytest.approx(999 / 20_000, rel=0.1)
    few = stacked_modes(every[[7, 7, 7, 512]], every)  # one of two modes, three times as often
    assert few["modes"] == 2
    assert few["kl"] == pytest.approx(np.log(1000) + 0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    ones = np.where(every == 1, 1, 0)  # of real digits that are 1 or else 0 there are eight stacks
    assert stacked_modes(np.zeros((4000, 3), int), ones)["floor_modes"] == 8
    with pytest.raises(UsageError, match="wanted samples and real images, got 0 and 1000"):
        stacked_modes(every[:0], every)


@pytest.mark.parametrize(
    ("count", "shares", "message"),
    [
        ([0, 0], [0.5, 0.5], "at least one sample"),
        ([1, 1], [0.5, 0.6], "sum to one"),
        ([1, 1, 1], [0.5, 0.5], "2 shares for 3 modes"),
    ],
)
def test_what_is_no_distribution_is_refused(count, shares, message):
    with pytest.raises(UsageError, match=message):
        mode_kl(np.array(count), np.array(shares))
