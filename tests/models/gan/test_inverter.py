"""An inverter of a generator that is known: its loss by hand, its generator as it was trained."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.core.conditions import Classes
from jaxgen.core.errors import UsageError
from jaxgen.core.images import to_float
from jaxgen.core.keys import example_keys
from jaxgen.engine.state import part_of
from jaxgen.models.gan.inverter import Inverter
from jaxgen.models.latent.autoencoder import AutoEncoder
from jaxgen.models.latent.vae import VAE

VAE_ = VAE(shape=(4, 4, 1), levels=3, latent=2, hidden=(6,))
MODEL = Inverter(shape=(4, 4, 1), levels=3, generator=VAE_, features=(4,), images=0.5)
KEY = jax.random.key(0)


def test_the_loss_is_of_codes_that_were_drawn_and_of_images_that_were_not():
    image = np.random.default_rng(0).integers(0, 3, (8, 4, 4, 1)).astype(np.uint8)

    @jax.jit
    def everything(key):
        variables = MODEL.init(key, {"image": image})
        z = jax.vmap(lambda key: VAE_.prior(key, 1)[0])(example_keys(key, 8))
        drawn = VAE_.decode(variables["frozen"], z)
        guess, code = MODEL.encode(variables, drawn), MODEL.encode(variables, image)
        logits = VAE_._outputs(variables["frozen"], code, None)
        loss = MODEL.objectives()[0].loss(variables, {"image": image}, key)
        return loss, MODEL.scores(variables, {"image": image}, key), (z, guess), logits

    (loss, aux), scores, (z, guess), logits = jax.device_get(everything(KEY))
    back = jax.nn.softmax(logits) @ jnp.arange(3.0) / 2  # the mean of p(x|z), not rounded
    mse = ((back - to_float(image, 3)) ** 2).mean(axis=(1, 2, 3))
    spread = float(np.std(VAE_.prior(jax.random.key(0), 1024)))
    codes = ((guess - z) ** 2).mean() / spread**2
    np.testing.assert_allclose(scores["mse"], mse, rtol=1e-4)
    np.testing.assert_allclose(scores["psnr"], -10 * np.log10(mse), rtol=1e-4)
    np.testing.assert_allclose(aux.metrics["code_error"], codes, rtol=1e-4)
    np.testing.assert_allclose(loss, codes + 0.5 * 4 * mse.mean(), rtol=1e-4)


def test_a_grafted_generator_draws_as_it_did():
    trained = VAE_.init(jax.random.key(1), {})
    fresh = MODEL.init(KEY, {"image": np.zeros((1, 4, 4, 1), np.uint8)})
    assert MODEL.grafts() == (("params", "frozen/params"),)
    whole = {**fresh, "frozen": {"params": part_of(trained, "params", "run")}}
    z = MODEL.prior(KEY, 5)
    np.testing.assert_array_equal(z, VAE_.prior(KEY, 5))
    np.testing.assert_array_equal(MODEL.decode(whole, z), VAE_.decode(trained, z))
    assert MODEL.spherical


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"generator": AutoEncoder(shape=(4, 4, 1), levels=3)}, "AutoEncoder cannot be inverted"),
        ({"generator": dataclasses.replace(VAE_, condition=Classes(3))}, "its VAE is conditional"),
        ({"levels": 4}, "draws images .4, 4, 1. of 3 levels"),
        ({"features": ()}, "features must name the maps"),
        ({"images": -1.0}, "images must be a number of at least 0"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_inverted_is_refused(settings, part):
    with pytest.raises(UsageError, match=part):
        dataclasses.replace(MODEL, **settings)
