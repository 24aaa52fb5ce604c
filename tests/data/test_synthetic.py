"""Moons against the areas that their phases light."""

import numpy as np
import pytest

from jaxgen.core.errors import UsageError
from jaxgen.data.synthetic import DARK, drawn_moons, moons


def test_the_lit_share_is_that_of_the_phase():
    """(1 − cos πφ)/2 of a disk of π r², in grey that adds up as if there were no pixels."""
    phase, size = np.linspace(0, 1, 9), 60
    light = drawn_moons(phase, size).astype(float).sum(axis=(1, 2, 3)) / 255
    share = (1 - np.cos(np.pi * phase)) / 2
    np.testing.assert_allclose(light, np.pi * (size / 3) ** 2 * (DARK + (1 - DARK) * share), rtol=5e-3)


def test_light_comes_from_the_right_and_top_and_bottom_are_alike():
    image = drawn_moons(np.array([0.1, 0.5, 0.8]), 21)
    np.testing.assert_allclose(image, image[:, ::-1].astype(int), atol=1)  # a rounding may fall either way
    assert (image[:, :, 11:].sum((1, 2, 3), dtype=int) > image[:, :, :10].sum((1, 2, 3), dtype=int)).all()
    full = drawn_moons(np.array([1.0]), 21)
    np.testing.assert_allclose(full, full[:, :, ::-1].astype(int), atol=1)


def test_offsets_move_the_moon_by_pixels():
    still, moved = drawn_moons(np.array([0.7, 0.7]), 24, np.array([[0.0, 0.0], [2.0, -3.0]]))
    np.testing.assert_array_equal(np.roll(still, (2, -3), (0, 1)), moved)


def test_phases_between_are_held_out_and_a_seed_gives_the_same_moons():
    data, again, other = (moons(10, 100, seed, (0.5, 0.8)).load() for seed in (1, 1, 2))
    for split in (data.train, data.valid):
        assert ((split["phase"] <= 0.5) | (split["phase"] >= 0.8)).all()
    assert ((data.test["phase"] > 0.5) & (data.test["phase"] < 0.8)).all()
    seen = np.sort(np.concatenate([data.train["phase"], data.valid["phase"]]))
    assert seen[0] == 0
    assert seen[-1] == 1
    gaps = np.sort(np.diff(seen))
    assert 0.3 < gaps[-1] < 0.32
    np.testing.assert_allclose(gaps[:-1], 0.7 / 99, atol=1e-5)
    np.testing.assert_array_equal(data.train.image, again.train.image)
    assert (data.test.image != other.test.image).any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(size=3), "size must be at least 4, got 3"),
        (dict(num=9), "num must be at least 10, got 9"),
        (dict(hold_out=(0.9, 0.6)), "the lower one first"),
        (dict(hold_out=(0.0, 1.0)), "leave some of 0 to 1"),
        (dict(jitter=0.2), "jitter must be from 0 to 0.1"),
        (dict(seed=-1), "seed must be"),
    ],
)
def test_settings_that_make_no_moons_are_refused_before_loading(settings, message):
    with pytest.raises(UsageError, match=message):
        moons(**settings)
