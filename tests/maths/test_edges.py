"""Histograms of oriented gradients: what turns them, and what is of no account to them."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.maths.edges import ORIENTATIONS, outlines, pooled

X = jax.random.uniform(jax.random.key(0), (2, 8, 8, 3))


def test_a_quarter_turn_of_the_image_turns_the_histograms():
    """Cells go with the image, and orientations by half of their number, a right angle."""
    turned = outlines(jnp.rot90(X, axes=(1, 2)), 4)
    expected = jnp.roll(jnp.rot90(outlines(X, 4), axes=(1, 2)), ORIENTATIONS // 2, axis=-1)
    np.testing.assert_allclose(turned, expected, atol=1e-5)


def test_brightness_and_its_sign_are_of_no_account():
    np.testing.assert_allclose(outlines(0.3 - X, 4), outlines(X, 4), atol=1e-5)


def test_a_line_votes_for_its_own_orientation():
    """A wave along the direction k·π/8 has its gradient there: that orientation counts most, the one across nothing."""
    row, column = np.mgrid[:16, :16]
    for k in range(ORIENTATIONS):
        angle = k * np.pi / ORIENTATIONS
        wave = jnp.asarray(np.sin(0.5 * (np.cos(angle) * column + np.sin(angle) * row)), jnp.float32)
        histogram = np.asarray(outlines(wave[None, :, :, None], 8)[0, 0, 0])
        assert histogram.argmax() == k
        assert histogram[(k + ORIENTATIONS // 2) % ORIENTATIONS] < 0.1 * histogram[k]


def test_flat_images_have_no_outlines_and_a_derivative():
    flat = jnp.full((1, 4, 4, 1), 0.5)
    assert float(outlines(flat, 2).max()) < 1e-4
    assert np.isfinite(jax.jit(jax.grad(lambda x: (outlines(x, 2) ** 2).sum()))(flat)).all()
    np.testing.assert_allclose(pooled(X, 4)[1, 1, 0], X[1, 4:, :4].mean(axis=(0, 1)), rtol=1e-5)
