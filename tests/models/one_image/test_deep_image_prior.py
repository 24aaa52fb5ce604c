"""Deep Image Prior: what is followed of its outputs, the three errors, nets put back, several images at once."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.core.errors import UsageError
from jaxgen.core.images import from_float
from jaxgen.maths.resample import downsampled
from jaxgen.models.one_image.deep_image_prior import DeepImagePrior
from jaxgen.models.one_image.deep_image_prior_net import Hourglass, Normalised

TINY = DeepImagePrior(shape=(5, 7, 1), levels=256, features=(3, 2), skips=(2, 0), depth=2)


def images(num, shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (num, *shape)).astype(np.uint8)


def blank(model):
    """The collection "outputs" before the first step."""
    return jax.jit(model.init)(jax.random.key(0), {"image": images(1, model.shape)})["outputs"]


def test_the_average_and_variance_are_those_of_the_outputs_then_fade_and_the_least_is_kept():
    """Against sums over all outputs; here five of them make 1/(1 − decay)."""
    model = dataclasses.replace(TINY, average=0.8)
    # Loud, then quiet, then loud again.
    loud = np.array([*np.linspace(1, 0.1, 12), *np.linspace(0.1, 1, 8)])
    x = (0.5 + 0.3 * loud[:, None, None, None] * np.random.default_rng(0).normal(size=(20, *TINY.shape))).astype("f")
    follow, outputs, course = jax.jit(model.followed), blank(model), []
    for t, one in enumerate(x):
        outputs = follow(outputs, jnp.asarray(one[None]), jnp.zeros(1))
        # α_t of each step so far, and with it what each output weighs by now.
        rate = np.maximum(0.2, 1 / np.arange(1, t + 2))
        weight = rate * np.append(np.cumprod((1 - rate)[::-1])[::-1][1:], 1.0)
        mean = np.tensordot(weight, x[: t + 1], 1)
        np.testing.assert_allclose(weight.sum(), 1.0)
        np.testing.assert_allclose(outputs["mean"][0], mean, atol=1e-5)
        variance = np.tensordot(weight, (x[: t + 1] - mean) ** 2, 1).mean()
        np.testing.assert_allclose(outputs["variance"][0], variance, rtol=1e-4, atol=1e-9)
        course.append((variance, mean))
    least = min(range(5, 20), key=lambda t: course[t][0])
    assert 5 < least < 19
    np.testing.assert_allclose(outputs["kept"][0], course[least][1], atol=1e-5)
    np.testing.assert_allclose([outputs["least"][0], outputs["kept_at"][0]], [course[least][0], least + 1], rtol=1e-4)


def test_only_known_pixels_are_fitted_and_given_back_as_they_are():
    x, mask = jnp.full((1, *TINY.shape), 0.5), np.random.default_rng(1).integers(0, 2, (1, 5, 7)).astype(np.uint8)
    batch = {"image": images(1, TINY.shape), "mask": mask}
    error, gradient = jax.value_and_grad(lambda x: TINY.errors(x, batch)[0])(x)
    known = mask[0] > 0
    np.testing.assert_allclose(error, ((0.5 - batch["image"][0, ..., 0] / 255)[known] ** 2).mean(), rtol=1e-5)
    np.testing.assert_array_equal(np.asarray(gradient)[0, ..., 0] != 0, known)
    back = np.asarray(TINY.restored({"outputs": {"kept": x}}, batch))
    np.testing.assert_array_equal(back, np.where(mask[..., None] > 0, batch["image"], 128))


def test_an_image_to_enlarge_is_compared_made_smaller():
    model = dataclasses.replace(TINY, shape=(8, 12, 1), factor=4)
    x, small = np.random.default_rng(2).random((1, 8, 12, 1)).astype("f"), images(1, (2, 3, 1))
    wanted = ((np.asarray(downsampled(x, 4)) - small / 255.0) ** 2).mean()
    np.testing.assert_allclose(model.errors(jnp.asarray(x), {"image": images(1, model.shape), "small": small}), wanted)


def test_a_net_that_broke_down_is_put_back_and_the_others_are_remembered():
    model = dataclasses.replace(TINY, images=3)
    before = {"net": jnp.zeros((3, 2))}
    variables = {
        "params": {"hourglass": {"net": jnp.ones((3, 2))}},
        "outputs": {"steps": jnp.float32(20), "psnr": jnp.array([24.0, 26.0, 40.0])},
        "before": {"hourglass": before, "psnr": jnp.array([30.0, 30.0, 30.0])},
    }
    after = model.put_back(variables, {}, jax.random.key(0))
    np.testing.assert_array_equal(after["params"]["hourglass"]["net"][:, 0], [0, 1, 1])
    np.testing.assert_array_equal(after["before"]["hourglass"]["net"][:, 0], [0, 1, 1])
    np.testing.assert_array_equal(after["before"]["psnr"], [30, 26, 40])
    between = variables | {"outputs": variables["outputs"] | {"steps": jnp.float32(21)}}
    after = model.put_back(between, {}, jax.random.key(0))
    np.testing.assert_array_equal(after["params"]["hourglass"]["net"], 1)
    np.testing.assert_array_equal(after["before"]["psnr"], 30)


def test_a_net_moves_by_its_own_image_alone_whatever_its_place_in_the_batch():
    model = dataclasses.replace(TINY, images=2, features=(2,), skips=(0,))
    variables = jax.jit(model.init)(jax.random.key(0), {"image": images(2, TINY.shape)})
    (objective,) = model.objectives()

    @jax.jit
    def gradient(batch):
        def loss(params):
            return objective.loss({**variables, "params": params}, batch, jax.random.key(1))

        (value, aux), gradient = jax.value_and_grad(loss, has_aux=True)(variables["params"])
        return value, aux.updates["outputs"], gradient["hourglass"]

    a, b, c = images(3, TINY.shape)
    first = gradient({"image": np.stack([a, b]), "number": np.array([0, 1], np.int32)})
    other = gradient({"image": np.stack([c, a]), "number": np.array([1, 0], np.int32)})
    twice = gradient({"image": np.stack([a, a]), "number": np.array([0, 0], np.int32)})
    for found in (other, twice):
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x[0], y[0], rtol=1e-5, atol=1e-8), first[2], found[2])
        np.testing.assert_allclose(first[1]["psnr"][0], found[1]["psnr"][0], rtol=1e-6)
    np.testing.assert_allclose(first[0], (10 ** (-first[1]["psnr"] / 10)).sum(), rtol=1e-5)
    moved = [abs(x[1]).max() for x in jax.tree.leaves(twice[2])]
    assert not any(moved), "a net moves that has no image"
    batch = {"image": np.stack([c, a]), "number": np.array([1, 0], np.int32)}
    back = model.restored({"outputs": first[1]}, batch)
    np.testing.assert_array_equal(back, from_float(first[1]["kept"], 256)[::-1])


def test_maps_are_normalised_by_themselves():
    """The closed form, and no batch mate matters."""
    x = 3 + 2 * np.random.default_rng(3).normal(size=(2, 4, 5, 3)).astype("f")
    y = np.asarray(Normalised().apply({"params": {"scale": jnp.full(3, 2.0), "shift": jnp.ones(3)}}, jnp.asarray(x)))
    mean, variance = x.mean((1, 2), keepdims=True), x.var((1, 2), keepdims=True)
    np.testing.assert_allclose(y, 2 * (x - mean) / np.sqrt(variance + 1e-5) + 1, atol=1e-4)


@pytest.mark.parametrize(("padding", "same"), [("reflect", True), ("zero", False)])
def test_edges_are_reflected_so_that_a_constant_map_has_none(padding, same):
    """Odd sides come back as they were."""
    net = Hourglass(2, (3,), (2,), padding=padding)
    z = jnp.broadcast_to(jnp.array([0.3, -0.7]), (1, 5, 7, 2))
    x = jax.jit(lambda key: net.apply(net.init(key, z), z))(jax.random.key(0))
    assert x.shape == (1, 5, 7, 2)
    assert bool(jnp.ptp(x, axis=(1, 2)).max() < 1e-5) == same


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"features": (3,) * 3}, "as many of both, got 3 and 2"),
        ({"shape": (4, 9, 1)}, "2 scales wants images of at least 5×5 pixels, got 4×9"),
        ({"factor": 2}, "a factor of 2 must divide the sides, got 5×7"),
        ({"average": 1.0}, "average between 0 and 1"),
        ({"images": 0}, "images must be at least 1"),
    ],
)
def test_what_makes_no_model_is_refused(change, sentence):
    with pytest.raises(UsageError, match=sentence):
        dataclasses.replace(TINY, **change)


def test_data_without_what_is_to_be_enlarged_are_refused():
    model = dataclasses.replace(TINY, shape=(8, 12, 1), factor=4)
    with pytest.raises(UsageError, match='wanted "small" of 2×3 pixels'):
        model.check_data({"image": images(1, model.shape)})
    with pytest.raises(UsageError, match="wanted a mask of 5×7 pixels, got 7×5"):
        TINY.check_data({"image": images(1, TINY.shape), "mask": np.ones((1, 7, 5), np.uint8)})
    with pytest.raises(UsageError, match="a mask gives no pixel"):
        TINY.check_data({"image": images(1, TINY.shape), "mask": np.zeros((1, 5, 7), np.uint8)})
