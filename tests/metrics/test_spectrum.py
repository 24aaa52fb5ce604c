"""The power of quick waves against sums over waves, and what blur takes of it."""

import numpy as np

from jaxgen.metrics.spectrum import tail_power


def test_waves_count_by_their_length_and_add_up():
    """A wave of amplitude a has the power a²/2; those of four pixels or more are no part of the tail."""
    row, column = np.mgrid[:12, :16]
    slow = 0.7 * np.cos(2 * np.pi * 3 * column / 16) + 0.2 * np.sin(2 * np.pi * (column / 16 + 2 * row / 12)) + 5.0
    quick = 0.4 * np.cos(2 * np.pi * 5 * row / 12) + 0.3 * np.sin(2 * np.pi * (3 * row / 12 + 3 * column / 16))
    images = np.stack([slow, quick, slow + quick]).astype(np.float32)[..., None]
    expected = (0.4**2 + 0.3**2) / 2
    np.testing.assert_allclose(tail_power(images), [0.0, expected, expected], atol=1e-5)
    both = np.concatenate([images, np.zeros_like(images)], axis=-1)
    np.testing.assert_allclose(tail_power(both), np.array([0.0, expected, expected]) / 2, atol=1e-5)


def test_a_mean_over_neighbours_takes_of_each_wave_what_its_transfer_function_says():
    noise = np.random.default_rng(0).standard_normal((4, 16, 16, 1)).astype(np.float32)
    blurred = (noise + np.roll(noise, 1, axis=2)) / 2
    power = np.abs(np.fft.fft2(noise[..., 0])) ** 2 / 16**4
    frequency = np.fft.fftfreq(16)
    kept = np.cos(np.pi * frequency) ** 2 * (np.hypot(frequency[:, None], frequency) > 0.25)
    np.testing.assert_allclose(tail_power(blurred), (power * kept).sum(axis=(1, 2)), rtol=1e-4)
