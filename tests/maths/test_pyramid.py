"""The pyramid against loops over pixels, and back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.core.errors import UsageError
from jaxgen.core.images import from_float, to_float
from jaxgen.maths.pyramid import assembled, expanded, laplacian, reduced

IMAGE = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (2, 8, 12, 3)), jnp.float32)


def at(x, i, j):
    """The pixel at (i, j), beyond the edge the nearest one."""
    return x[:, min(max(i, 0), x.shape[1] - 1), min(max(j, 0), x.shape[2] - 1)]


def test_reduction_is_a_weighted_mean_of_four_by_four_pixels():
    weights = np.array([1, 3, 3, 1]) / 8
    image, by_loops = np.asarray(IMAGE), np.zeros((2, 4, 6, 3))
    for i, j in np.ndindex(4, 6):
        for m, n in np.ndindex(4, 4):
            by_loops[:, i, j] += weights[m] * weights[n] * at(image, 2 * i + m - 1, 2 * j + n - 1)
    np.testing.assert_allclose(reduced(IMAGE), by_loops, atol=1e-6)


def test_expansion_weighs_the_four_nearest_pixels_by_their_places():
    """Straight lines between the centres of coarse pixels, at which fine ones lie a quarter beside."""
    image, by_loops = np.asarray(IMAGE), np.zeros((2, 16, 24, 3))
    for i, j in np.ndindex(16, 24):
        for m, n in np.ndindex(2, 2):
            near = (i - 1) // 2 + m, (j - 1) // 2 + n
            weight = np.prod([1 - abs((k - 0.5) / 2 - place) for k, place in zip((i, j), near)])
            by_loops[:, i, j] += weight * at(image, *near)
    np.testing.assert_allclose(expanded(IMAGE), by_loops, atol=1e-6)


def test_what_is_even_stays_so_and_what_is_straight_stays_straight_inside():
    np.testing.assert_array_equal(expanded(reduced(jnp.full((1, 4, 6, 1), 0.3))), np.float32(0.3))
    line = jnp.asarray(np.arange(16.0).repeat(2).reshape(1, 16, 2, 1), jnp.float32)
    np.testing.assert_allclose(expanded(reduced(line))[:, 3:-3], line[:, 3:-3], rtol=1e-6)


@pytest.mark.parametrize("halvings", [0, 1, 2])
def test_any_image_comes_back_from_its_pyramid(halvings):
    coarse, residuals = laplacian(IMAGE, halvings)
    assert [x.shape[1:3] for x in (coarse, *residuals)] == [
        (8 >> k, 12 >> k) for k in (halvings, *range(halvings - 1, -1, -1))
    ]
    np.testing.assert_allclose(assembled(coarse, residuals), IMAGE, atol=1e-6)


def test_whole_values_come_back_as_they_were():
    image = np.random.default_rng(1).integers(0, 256, (4, 8, 4, 1)).astype(np.uint8)
    there_and_back = jax.jit(lambda x: from_float(assembled(*laplacian(to_float(x, 256), 2)), 256))
    np.testing.assert_array_equal(there_and_back(image), image)


def test_a_coarse_image_alone_gives_a_smooth_one():
    """Without residuals the image is u(u(I_2)): each residual is what is lacking at its size."""
    coarse, (middle, fine) = laplacian(IMAGE, 2)
    smooth = expanded(expanded(coarse))
    np.testing.assert_allclose(assembled(coarse, [0 * middle, 0 * fine]), smooth, atol=1e-6)
    np.testing.assert_allclose(IMAGE - smooth, fine + expanded(middle), atol=1e-6)


def test_sides_that_cannot_be_halved_are_refused():
    with pytest.raises(UsageError, match="wanted sides that 8 divides, as they are halved 3 times, got 8×12"):
        laplacian(IMAGE, 3)
    with pytest.raises(UsageError, match="that 2 divides"):
        reduced(IMAGE[:, :7])
