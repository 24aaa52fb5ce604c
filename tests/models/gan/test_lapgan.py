"""LAPGAN: a pyramid whose levels are drawn one after the other and trained each alone."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.core.errors import UsageError
from jaxgen.core.images import to_float
from jaxgen.maths.adversarial import adversarial
from jaxgen.maths.pyramid import expanded, laplacian, reduced
from jaxgen.models.gan.lapgan import LAPGAN

KEY = jax.random.key(5)
MODEL = LAPGAN(shape=(8, 4, 3), levels=256, halvings=2, latent=5, features=2)
BATCH = {"image": jax.random.randint(KEY, (4, 8, 4, 3), 0, 256).astype(jnp.uint8)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Oracle(LAPGAN):
    """Its generators know the images: they are its variables."""

    def drawn(self, variables, k, z, smooth):
        coarse, residuals = laplacian(2 * to_float(variables["image"], self.levels) - 1, self.halvings)
        if smooth is None:
            return coarse
        real, c = self.real(variables, k)
        np.testing.assert_allclose(smooth, c, atol=1e-5)
        np.testing.assert_allclose(residuals[self.halvings - 1 - k], real - c, atol=1e-6)
        return residuals[self.halvings - 1 - k]


def test_generators_that_give_the_true_residuals_draw_the_image():
    oracle = Oracle(**{f.name: getattr(MODEL, f.name) for f in dataclasses.fields(MODEL)})
    np.testing.assert_array_equal(oracle.decode(BATCH, oracle.prior(KEY, 4)), BATCH["image"])
    # What is shown: the coarse image, and of each level the residual, in which grey is nothing, and the image so far.
    panels = np.split(np.asarray(oracle.shows(BATCH, BATCH, KEY)["pyramids"]), 5, axis=2)
    coarse, (middle, fine) = laplacian(2 * to_float(BATCH["image"], 256) - 1, 2)
    for panel, x in zip(panels, (coarse, middle, oracle.real(BATCH, 1)[0], fine, oracle.real(BATCH, 0)[0])):
        small = panel[:, :: 8 // x.shape[1], :: 4 // x.shape[2]]
        np.testing.assert_array_equal(panel, np.kron(small, np.ones((1, 8 // x.shape[1], 4 // x.shape[2], 1))))
        np.testing.assert_allclose(small / 127.5 - 1, np.clip(x, -1, 1), atol=1 / 250)


def test_levels_are_those_of_the_pyramid_and_their_nets_are_called_by_size():
    names = [objective.name for objective in MODEL.objectives()]
    assert names == [f"{net}_{size}" for size in ("2x1", "4x2", "8x4") for net in ("critic", "generator")]
    assert MODEL.prior(KEY, 3).shape == (3, 5 + 8 + 32)
    for k in range(3):
        x, smooth = MODEL.real(BATCH, k)
        again = laplacian(2 * to_float(BATCH["image"], 256) - 1, k)[0]
        np.testing.assert_allclose(x, again, atol=1e-6)
        assert (smooth is None) == (k == 2)
        if smooth is not None:
            np.testing.assert_allclose(smooth, expanded(reduced(x)), atol=1e-6)


def test_a_level_asks_for_no_net_of_another():
    """Its losses are traced with its own two nets as the only parameters there are: levels train independently."""
    variables = jax.eval_shape(MODEL.init, KEY, BATCH)
    for objective in MODEL.objectives():
        size = objective.name.partition("_")[2]
        own = {name: net for name, net in variables["params"].items() if name.endswith(size)}
        assert len(own) == 2
        assert jax.eval_shape(objective.loss, {"params": own}, BATCH, KEY)[0].shape == ()


def test_losses_are_those_of_the_sum_of_smooth_image_and_residual():
    """By hand at the finest level: c + h = I against c + G(z, c)."""
    model = dataclasses.replace(MODEL, loss="least-squares")
    variables = jax.tree.map(lambda w: w + 0.1, jax.jit(model.init)(KEY, BATCH))
    pair, by_name = adversarial("least-squares"), {o.name: o for o in model.objectives()}

    def by_hand(variables, batch):
        image = 2 * to_float(batch["image"], 256) - 1
        smooth = expanded(reduced(image))
        z = jax.random.uniform(KEY, (4, 8, 4, 1), minval=-1, maxval=1)
        fake = smooth + model.generator(0).apply({"params": variables["params"]["generator_8x4"]}, z, smooth)
        scores = [
            model.critic(0).apply({"params": variables["params"]["critic_8x4"]}, x)[0][:, 0] for x in (image, fake)
        ]
        return pair.critic(*scores).mean(), pair.generator(*scores).mean()

    def losses(variables, batch):
        return [by_name[f"{net}_8x4"].loss(variables, batch, KEY)[0] for net in ("critic", "generator")]

    np.testing.assert_allclose(*(jax.jit(way)(variables, BATCH) for way in (losses, by_hand)), rtol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(shape=(28, 28, 1), halvings=3), "LAPGAN: wanted sides that 8 divides, as they are halved 3 times"),
        (dict(halvings=0), "LAPGAN: halvings must be at least 1"),
        (dict(features=0), "LAPGAN: features must be at least 1"),
        (dict(loss="least-square"), "did you mean"),
    ],
)
def test_settings_that_make_no_model_are_refused(settings, message):
    with pytest.raises(UsageError, match="(?i)" + message):
        LAPGAN(**{"shape": (8, 4, 1), "levels": 256, **settings})
