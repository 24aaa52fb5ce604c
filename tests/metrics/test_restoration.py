"""PSNR and SSIM against closed forms and a loop over windows."""

import numpy as np
import pytest

from jaxgen.core.errors import UsageError
from jaxgen.metrics import restoration


def images(seed, shape=(2, 14, 13, 3), levels=256):
    return np.random.default_rng(seed).integers(0, levels, shape).astype(np.uint8)


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_psnr_of_a_known_error(levels):
    image = np.zeros((2, 5, 4, 1), np.uint8)
    other = image.copy()
    other[0] = 1  # every sub-pixel off by one
    other[1, 0, 0] = 1  # one of twenty
    expected = 20 * np.log10(levels - 1) + np.array([0, 10 * np.log10(20)])
    np.testing.assert_allclose(restoration.psnr(image, other, levels), expected, atol=1e-4)


def test_psnr_of_equal_images_is_infinite():
    assert np.isposinf(restoration.psnr(images(0), images(0), 256)).all()


def ssim_by_loops(x, y, levels):
    """Wang et al. 2004, eqs. 13-16: weighted moments about their means, window by window, in float64."""
    offset = np.arange(11) - 5
    one = np.exp(-(offset**2) / (2 * 1.5**2))
    window = np.outer(one, one) / np.outer(one, one).sum()
    c1, c2 = (0.01 * (levels - 1)) ** 2, (0.03 * (levels - 1)) ** 2
    x, y = x.astype(np.float64), y.astype(np.float64)
    b, h, w, c = x.shape
    values = np.empty((b, h - 10, w - 10, c))
    for i, r, s, k in np.ndindex(*values.shape):
        p, q = x[i, r : r + 11, s : s + 11, k], y[i, r : r + 11, s : s + 11, k]
        mp, mq = (window * p).sum(), (window * q).sum()
        vp, vq = (window * (p - mp) ** 2).sum(), (window * (q - mq) ** 2).sum()
        cov = (window * (p - mp) * (q - mq)).sum()
        values[i, r, s, k] = (2 * mp * mq + c1) * (2 * cov + c2) / ((mp**2 + mq**2 + c1) * (vp + vq + c2))
    return values.mean((1, 2, 3))


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_ssim_equals_the_loop(levels):
    x = images(0, levels=levels)
    y = np.where(images(1, levels=2) == 1, x, images(2, levels=levels))
    np.testing.assert_allclose(restoration.ssim(x, y, levels), ssim_by_loops(x, y, levels), atol=1e-5)
    np.testing.assert_allclose(restoration.ssim(y, x, levels), restoration.ssim(x, y, levels), atol=1e-6)


def test_ssim_of_flat_and_equal_images():
    x = images(0)
    np.testing.assert_allclose(restoration.ssim(x, x, 256), 1, atol=1e-6)
    a, b, c1 = 255.0, 200.0, 2.55**2
    flat = [np.full((1, 11, 11, 1), v, np.uint8) for v in (a, b)]
    np.testing.assert_allclose(restoration.ssim(*flat, 256), (2 * a * b + c1) / (a * a + b * b + c1), rtol=1e-4)
    assert (restoration.ssim(x, 255 - x, 256) < 0).all()


def test_ssim_refuses_images_smaller_than_its_window():
    small = np.zeros((1, 8, 8, 1), np.uint8)
    with pytest.raises(UsageError, match="at least 11x11 pixels, got 8x8"):
        restoration.ssim(small, small, 17)
