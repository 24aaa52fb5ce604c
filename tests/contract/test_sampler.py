"""Samples are images of the model's kind, the same for the same key; so are those of codes, which have ways between."""

import jax.numpy as jnp
import numpy as np
from contract.zoo import KEY, ONE_EACH, OTHER, ROWS, compiled, rows, same, sampler_of, variables_of

from jaxgen.core.capabilities import Latent, Sampler


@rows(Sampler, ONE_EACH)
def test_sampling_is_keyed(name):
    model = ROWS[name]
    sample = sampler_of(model, 5)
    image = sample(variables_of(model), KEY)
    assert image.shape == (5, *model.shape)
    assert image.dtype == jnp.uint8
    assert int(image.max()) < model.levels
    assert same(image, sample(variables_of(model), KEY))
    assert not same(image, sample(variables_of(model), OTHER))


@rows(Latent, ONE_EACH)
def test_codes_of_the_prior_decode_to_images(name):
    """And where a model draws its samples so, they are these."""
    model = ROWS[name]
    prior, condition = compiled(model, "prior", 5), model.example_condition(5)
    code = prior(KEY)
    assert len(code) == 5
    assert same(code, prior(KEY))
    assert not same(code, prior(OTHER))
    image = compiled(model, "decode")(variables_of(model), code, condition)
    assert image.shape == (5, *model.shape)
    assert image.dtype == jnp.uint8
    assert int(image.max()) < model.levels
    if type(model).sample is Latent.sample:
        assert same(image, sampler_of(model, 5)(variables_of(model), KEY))


@rows(Latent, ONE_EACH)
def test_the_way_between_two_codes_has_its_ends(name):
    """Halfway it is their mean, or as long as the mean of their lengths."""
    model = ROWS[name]
    a, b = model.prior(KEY, 2)
    first, half, last = (np.asarray(model.between(a, b, t)) for t in (0.0, 0.5, 1.0))
    np.testing.assert_allclose(first, a, atol=1e-5)
    np.testing.assert_allclose(last, b, atol=1e-5)
    if model.spherical:
        np.testing.assert_allclose(np.linalg.norm(half), (jnp.linalg.norm(a) + jnp.linalg.norm(b)) / 2, rtol=1e-5)
    else:
        np.testing.assert_allclose(half, (a + b) / 2, atol=1e-5)
