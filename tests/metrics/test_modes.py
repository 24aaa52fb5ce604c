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


def test_stacked_digits_are_read_channel_by_channel():
    """A digit is an image of that brightness; the classifier takes each 9 for a 7."""
    draw = np.random.default_rng(1)
    digits = draw.integers(10, size=(300, 3))
    image = np.broadcast_to(digits[:, None, None], (300, 2, 2, 3)).astype(np.uint8)
    label = digits @ [100, 10, 1]
    classify = lambda x: np.where(x[:, 0, 0, 0] == 9, 7, x[:, 0, 0, 0]).astype(int)  # noqa: E731
    figures = stacked_modes(image[:2], image, label, np.full(10, 0.1), classify)
    right = (digits != 9).all(axis=1)
    assert figures["accuracy"] == pytest.approx(100 * right.mean())
    assert figures["kl"] == pytest.approx(np.log(1000 / figures["modes"]))
    assert figures["floor_modes"] == figures["modes"]  # of as many images, and here the same
    read = np.where(digits == 9, 7, digits) @ [100, 10, 1]
    everything = stacked_modes(image, image, label, np.full(10, 0.1), classify)
    assert everything["modes"] == len(set(read))


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
