"""Inception by what is known of it: shapes and count of its weights, batch norm folded, means at a border, the resize.
That the whole net is PyTorch's is a test of the soak."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.core.errors import UsageError
from jaxgen.models.inception import Inception, _folded, _kernels, _mean, loaded, prepared


def test_weights_and_maps_are_those_of_inception():
    """21,785,568 numbers without the layer of classes, two of each batch norm counted as trained there; maps of
    299×299 images have the sizes of 1512.00567, table 1."""
    assert sum(np.prod(kernel) + 2 * kernel[-1] for kernel in _kernels().values()) == 21_785_568
    model, params = Inception(shape=(40, 30, 3), levels=256), {n: _zeros(kernel) for n, kernel in _kernels().items()}
    maps = jax.eval_shape(lambda: model.feature_maps({"params": params}, jnp.zeros((1, 40, 30, 3))))
    sizes = [(147, 64), (71, 192), (35, 288), (17, 768), (8, 2048)]
    assert [m.shape for m in maps] == [(1, side, side, c) for side, c in sizes]


def _zeros(kernel):
    return {"kernel": np.zeros(kernel, np.float32), "bias": np.zeros(kernel[-1], np.float32)}


def test_a_folded_convolution_is_convolution_and_batch_norm():
    draw = np.random.default_rng(0)
    arrays = {f"a.bn.{part}": draw.uniform(0.5, 2.0, 3) for part in ("weight", "bias", "running_mean", "running_var")}
    arrays["a.conv.weight"] = weight = draw.standard_normal((3, 2, 1, 3))
    x = draw.standard_normal((4, 3, 2))
    plain = np.einsum("rji,oij->ro", x, weight[:, :, 0])
    mean, var = arrays["a.bn.running_mean"], arrays["a.bn.running_var"]
    expected = (plain - mean) / np.sqrt(var + 0.001) * arrays["a.bn.weight"] + arrays["a.bn.bias"]
    conv = _folded(arrays, "a", (1, 3, 2, 3), "here")
    np.testing.assert_allclose(np.einsum("rji,jio->ro", x, conv["kernel"][0]) + conv["bias"], expected, rtol=1e-5)


def test_a_mean_at_the_border_is_of_the_pixels_inside():
    mean = _mean(jnp.arange(4.0).reshape(1, 2, 2, 1))
    np.testing.assert_allclose(mean, np.full((1, 2, 2, 1), 1.5))
    np.testing.assert_allclose(_mean(jnp.ones((1, 3, 3, 1))), np.ones((1, 3, 3, 1)))


def test_images_are_resized_between_pixel_centres_and_scaled():
    """By the formula: pixel i lies at (i + ½)·h/299 − ½, clamped to the image; three equal channels of a grey one."""
    x = resized = np.random.default_rng(1).random((1, 6, 400, 1), np.float32)
    for axis in (1, 2):
        place = np.clip((np.arange(299) + 0.5) * x.shape[axis] / 299 - 0.5, 0, x.shape[axis] - 1)
        low = np.floor(place).astype(int)
        high, t = np.minimum(low + 1, x.shape[axis] - 1), (place - low).reshape(-1, *[1] * (3 - axis))
        resized = resized.take(low, axis) * (1 - t) + resized.take(high, axis) * t
    np.testing.assert_allclose(prepared(jnp.asarray(x)), np.repeat(2 * resized - 1, 3, axis=3), atol=1e-4)


def test_a_file_of_another_net_is_named_by_its_array():
    arrays = {}
    for name, (h, w, i, o) in _kernels().items():
        arrays[f"{name}.conv.weight"] = np.broadcast_to(np.float32(0.1), (o, i, h, w))
        parts = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}
        arrays |= {f"{name}.bn.{part}": np.full(o, value, np.float32) for part, value in parts.items()}
    part = "Mixed_6b.branch7x7_2"
    short = arrays[f"{part}.conv.weight"][:5]
    wanted = r"Mixed_6b.branch7x7_2.conv.weight of Inception v3, finite numbers \[128, 128, 1, 7\], got "
    with pytest.raises(UsageError, match=rf"w.npz: wanted the array {wanted}shape \[5, 128, 1, 7\]"):
        loaded({**arrays, f"{part}.conv.weight": short}, "w.npz")
    with pytest.raises(UsageError, match=wanted + "no such array"):
        loaded({name: a for name, a in arrays.items() if name != f"{part}.conv.weight"}, "w.npz")
    with pytest.raises(UsageError, match=r"Mixed_7c.branch1x1.bn.bias .*got NaN or infinity"):
        loaded({**arrays, "Mixed_7c.branch1x1.bn.bias": np.full(320, np.nan)}, "w.npz")
    with pytest.raises(UsageError, match="shape must have 1 or 3 channels"):
        Inception(shape=(8, 8, 4), levels=256)
