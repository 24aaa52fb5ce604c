"""Agreement of segmentations, by counting, and labels read off flat colours."""

import numpy as np
import pytest

from jaxgen.core.errors import UsageError
from jaxgen.metrics.segmentation import agreement, colours_of, nearest_colour

RNG = np.random.default_rng(0)


def test_agreement_is_what_counting_pixel_by_pixel_gives():
    true, predicted = (RNG.integers(0, 3, (4, 5, 6)) for _ in range(2))
    true[true == 2] = 4  # classes 2 and 3 are nowhere true
    figures = agreement(predicted, true, 5)
    classes = [0, 1, 4]
    right = [(predicted[true == k] == k).mean() for k in classes]
    overlap = [((true == k) & (predicted == k)).sum() / ((true == k) | (predicted == k)).sum() for k in classes]
    assert figures["pixels"] == pytest.approx(100 * (predicted == true).mean())
    assert figures["classes"] == pytest.approx(100 * np.mean(right))
    assert figures["overlap"] == pytest.approx(100 * np.mean(overlap))
    assert agreement(true, true, 5) == {"pixels": 100.0, "classes": 100.0, "overlap": 100.0}


def test_labels_survive_noise_that_is_smaller_than_half_the_way_between_colours():
    colours = np.array([[0, 0, 0], [0, 0, 255], [200, 100, 0]], np.uint8)
    labels = RNG.integers(0, 3, (2, 7, 5))
    flat = colours[labels]
    np.testing.assert_array_equal(colours_of(flat), colours)
    noisy = np.clip(flat + RNG.integers(-60, 60, flat.shape), 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(nearest_colour(noisy, colours), labels)


def test_pictures_of_many_colours_are_no_labels():
    photograph = RNG.integers(0, 256, (1, 9, 9, 3)).astype(np.uint8)
    with pytest.raises(UsageError, match="at most 64 flat colours, and the inputs have 81: leave it out"):
        colours_of(photograph, "the inputs")
