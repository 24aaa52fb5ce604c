"""Images made smaller and larger, against Pillow's filters and closed forms."""

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxgen.core.errors import UsageError
from jaxgen.maths.resample import doubled, downsampled, lanczos, lanczos_weights


def pillow(x, sides, method):
    """Each plane of an image [h,w,c] by Pillow, in floats."""
    planes = [Image.fromarray(plane).resize(sides[::-1], method) for plane in np.moveaxis(x, 2, 0)]
    return np.stack([np.asarray(plane) for plane in planes], axis=-1)


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_with_three_lobes_it_is_the_lanczos_filter_of_pillow(factor):
    """Edges too."""
    x = np.random.default_rng(0).random((24, 32, 2), np.float32)
    theirs = pillow(x, (24 // factor, 32 // factor), Image.Resampling.LANCZOS)
    np.testing.assert_allclose(downsampled(x[None], factor, 3)[0], theirs, atol=1e-5)


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_a_ramp_becomes_the_ramp_of_the_centres(factor):
    """Symmetric weights that sum to one leave a line a line, whatever their lobes: where no edge cuts them, the values
    are those at the centres, and Pillow's."""
    ramp = np.broadcast_to(np.arange(64, dtype=np.float32)[:, None, None], (64, 8, 1))
    small = np.asarray(downsampled(ramp[None], factor)[0, :, 0, 0])
    inner = slice(2, 64 // factor - 2)
    centres = factor * (np.arange(64 // factor) + 0.5) - 0.5
    np.testing.assert_allclose(small[inner], centres[inner], rtol=1e-5)
    theirs = pillow(ramp, (64 // factor, 8), Image.Resampling.LANCZOS)[:, 0, 0]
    inner = slice(3, 64 // factor - 3)
    np.testing.assert_allclose(small[inner], theirs[inner], rtol=1e-5)


def test_the_window_is_one_at_its_centre_and_zero_at_the_others():
    np.testing.assert_allclose(lanczos(np.arange(-3.0, 4.0)), np.eye(7)[3], atol=1e-15)
    weights = lanczos_weights(40, 4)
    assert np.count_nonzero(weights[5]) == 16
    np.testing.assert_allclose(weights[5][14:30], weights[5][14:30][::-1], atol=1e-7)


def test_a_side_that_the_factor_does_not_divide_is_refused():
    with pytest.raises(UsageError, match="wanted sides that 3 divides, got 8"):
        downsampled(np.ones((1, 9, 8, 1), np.float32), 3)


def test_doubling_is_the_bilinear_filter_of_pillow():
    x = np.random.default_rng(1).random((5, 7, 2), np.float32)
    np.testing.assert_allclose(
        doubled(jnp.asarray(x[None]))[0], pillow(x, (10, 14), Image.Resampling.BILINEAR), atol=1e-6
    )
