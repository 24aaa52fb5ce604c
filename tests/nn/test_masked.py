"""Masks of groups, and convolutions over live taps, against the full convolution whose dead taps are zero."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.nn.masked import MaskedConv, group_mask, groups, raster_taps, row_taps, tap_conv


def test_groups_are_as_even_as_array_split():
    for features in (3, 7, 32, 128, 1024):
        sizes = np.bincount(groups(features, 3))
        assert sizes.tolist() == [len(p) for p in np.array_split(np.arange(features), 3)]
    assert groups(5, 2, gates=2).tolist() == [0, 0, 0, 1, 1, 0, 0, 0, 1, 1]


def test_mask_a_excludes_the_own_group_and_mask_b_includes_it():
    rgb = np.arange(3)
    assert group_mask("A", rgb, rgb).tolist() == [[0, 1, 1], [0, 0, 1], [0, 0, 0]]
    assert group_mask("B", rgb, rgb).tolist() == [[1, 1, 1], [0, 1, 1], [0, 0, 1]]


@pytest.mark.parametrize("taps", [raster_taps(3), raster_taps(7), row_taps(3), ((0, 0), (1, -2))])
def test_tap_conv_is_the_masked_convolution(taps):
    """Value and both gradients equal those of a full convolution whose dead taps are zero."""
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=(2, 6, 5, 3)), rng.normal(size=(len(taps), 3, 4))
    cotangent = rng.normal(size=(2, 6, 5, 4))

    def full(x, kernel):
        dense = jnp.zeros((7, 7, 3, 4)).at[tuple(np.array(taps).T + 3)].set(kernel)
        return jax.lax.conv_general_dilated(x, dense, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    args = (jnp.asarray(x, jnp.float32), jnp.asarray(kernel, jnp.float32))
    got, got_back = jax.vjp(lambda x, k: tap_conv(x, k, taps), *args)
    wanted, wanted_back = jax.vjp(full, *args)
    np.testing.assert_allclose(got, wanted, atol=2e-5)
    for a, b in zip(got_back(jnp.float32(cotangent)), wanted_back(jnp.float32(cotangent))):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_masked_conv_starts_with_unit_gain():
    """The initial kernel keeps variance over its live inputs, colour masks included."""
    layer = MaskedConv(raster_taps(3), "B", tuple(groups(60, 3).tolist()), tuple(groups(60, 3).tolist()))
    x = jax.random.normal(jax.random.key(0), (8, 12, 12, 60))
    y = layer.apply(layer.init(jax.random.key(1), x), x)
    assert float(y[:, 2:, 2:-2].std()) == pytest.approx(1.0, rel=0.1)
