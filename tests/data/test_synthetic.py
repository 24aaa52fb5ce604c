"""Moons against the areas that their phases light; points against their centres; stacked digits against digits."""

import numpy as np
import pytest

from jaxgen.core.errors import UsageError
from jaxgen.data.arrays import digits, npz
from jaxgen.data.source import source
from jaxgen.data.synthetic import (
    DARK,
    drawn_moons,
    gaussian_grid,
    gaussian_ring,
    grid_centres,
    moons,
    ring_centres,
    stacked_mnist,
)
from jaxgen.data.transforms import dynamic_binarization


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


@pytest.mark.parametrize(
    ("source", "centres"),
    [
        (gaussian_ring(8, 4000, std=0.1, radius=2.0), ring_centres(8, 2.0)),
        (gaussian_grid(5, 4000, std=0.1), grid_centres(5, 1.0)),
    ],
)
def test_points_lie_around_centres_that_have_equal_shares(source, centres):
    data = source.load()
    x, label = data.train["x"], data.train["label"]
    assert (len(data.train), len(data.valid), len(data.test), data.levels) == (4000, 1000, 1000, 0)
    assert len(np.unique(centres.round(6), axis=0)) == len(centres) == label.max() + 1
    assert np.ptp(np.bincount(label)) == 0
    away = x - centres[label]
    np.testing.assert_allclose(away.mean(axis=0), 0, atol=0.01)
    np.testing.assert_allclose(np.cov(away.T), 0.01 * np.eye(2), atol=1e-3)
    assert not np.isin(data.test["x"], x).any()
    np.testing.assert_array_equal(source.load().train["x"], x)


def test_centres_of_rings_and_grids_are_evenly_apart():
    ring, grid = ring_centres(8, 2.0), grid_centres(3, 1.5)
    np.testing.assert_allclose(np.linalg.norm(ring, axis=1), 2)
    np.testing.assert_allclose(np.linalg.norm(ring - np.roll(ring, 1, axis=0), axis=1), 4 * np.sin(np.pi / 8))
    assert {tuple(c) for c in grid} == {(a, b) for a in (-1.5, 0.0, 1.5) for b in (-1.5, 0.0, 1.5)}


def test_three_digits_of_a_split_are_stacked_and_labelled_by_what_they_are():
    """Every channel is an image of its own split, whose label is that channel's digit of the new one."""
    single, data = digits().load(), stacked_mnist(digits(), num=500, seed=3).load()
    assert [len(s) for s in data.splits().values()] == [500, len(single.valid), len(single.test)]
    for name, split in data.splits().items():
        known = {x.tobytes(): y for x, y in zip(single.splits()[name].image, single.splits()[name].label)}
        for image, label in zip(split.image[:100], split.label):
            channels = [np.ascontiguousarray(image[..., i : i + 1]).tobytes() for i in range(3)]
            assert [known[c] for c in channels] == [int(d) for d in f"{label:03}"]
    places = data.train.label[:, None] // [100, 10, 1] % 10
    assert (np.bincount(places.ravel(), minlength=10) > 100).all()
    assert abs(np.corrcoef(places.T)[np.triu_indices(3, 1)]).max() < 0.15  # drawn independently
    np.testing.assert_array_equal(data.train.image, stacked_mnist(digits(), 500, 3).load().train.image)
    assert (data.train.label != stacked_mnist(digits(), 500, 4).load().train.label).any()


def test_stacks_are_named_with_their_own_options_and_those_of_their_digits(tmp_path):
    image = np.arange(8, dtype=np.uint8).reshape(8, 1, 1).repeat(3, axis=1).repeat(2, axis=2)
    np.savez(tmp_path / "digits.npz", train=image, train_label=np.arange(8), test=image, test_label=np.arange(8))
    data = source(f"stacked_mnist:npz:{tmp_path}/digits.npz,num=30,levels=9,seed=2").load()
    np.testing.assert_array_equal(data.train.image[:, 0, 0] @ [100, 10, 1], data.train.label)
    assert (len(data.train), data.shape, data.levels) == (30, (3, 2, 3), 9)
    np.testing.assert_array_equal(
        data.train.label, stacked_mnist(npz(tmp_path / "digits.npz", 9), 30, 2).load().train.label
    )
    with pytest.raises(UsageError, match="unknown option 'sed'; its options are num, seed, levels"):
        source("stacked_mnist:digits,sed=1")
    with pytest.raises(UsageError, match="wanted something after 'stacked_mnist':, as in stacked_mnist:DATA"):
        source("stacked_mnist:")


def test_points_and_stacks_of_other_things_are_refused():
    for make, message in (
        (lambda: gaussian_ring(0), "modes must be at least 1, got 0"),
        (lambda: gaussian_grid(1), "side must be at least 2, got 1"),
        (lambda: gaussian_ring(num=3), "num must be at least 4, got 3"),
        (lambda: gaussian_grid(std=0.0), "std must be a number above 0"),
        (lambda: stacked_mnist(digits(), num=0), "num must be at least 1, got 0"),
        (lambda: stacked_mnist(moons(8, 20)).load(), "1 channels and no labels"),
        (lambda: stacked_mnist(stacked_mnist(digits(), 10)).load(), "3 channels and labels to"),
        (lambda: stacked_mnist(dynamic_binarization(digits())).load(), "stack the images, then transform"),
    ):
        with pytest.raises(UsageError, match=message):
            make()
