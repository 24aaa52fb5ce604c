"""VQ-VAE and its prior against enumeration: every 2×4 binary image, and every pair of codes of three."""

import dataclasses
import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract.zoo import KEY, ROWS, batch_of, variables_of

from jaxgen.core.conditions import Classes
from jaxgen.core.errors import UsageError
from jaxgen.core.images import to_float
from jaxgen.models.latent.vq_prior import VQPrior
from jaxgen.models.latent.vqvae import VQVAE
from jaxgen.models.pixel.pixelrnn import PixelCNN
from jaxgen.nn.codebook import vectors_of

IMAGE = dict(shape=(2, 4, 1), levels=2)
ONE = VQVAE(entries=3, latent=2, features=(4,), blocks=0, **IMAGE)
CELLS = PixelCNN(layers=1, features=4, head_features=4, **IMAGE)
TWO = VQPrior(vqvae=ONE, prior=CELLS, **IMAGE)
IMAGES = jnp.array(list(itertools.product(range(2), repeat=8)), jnp.uint8).reshape(-1, 2, 4, 1)
CODES = jnp.array(list(itertools.product(range(3), repeat=2)), jnp.int32).reshape(-1, 1, 2)


def drawn(model):
    """Variables that are random all over, by NumPy; the codebook's entries are used alike."""
    draw = np.random.default_rng(0)
    like = jax.eval_shape(model.init, KEY, {})
    random = jax.tree.map(lambda a: jnp.asarray(0.5 * draw.standard_normal(a.shape), jnp.float32), like)
    book = {"share": jnp.ones(3), "sum": jnp.asarray(draw.standard_normal((3, 2)), jnp.float32)}
    return random | ({"frozen": {**random["frozen"], "codebook": book}} if model is TWO else {"codebook": book})


@pytest.fixture(scope="module")
def variables():
    """Of the prior and, frozen in it, the VQ-VAE, with weights that tell images apart."""
    return drawn(TWO)


@pytest.fixture(scope="module")
def joint(variables):
    """log p(x|z) of every image [images, codes], and log p(z) under the prior [codes]."""
    images, codes = jnp.tile(IMAGES, (9, 1, 1, 1)), jnp.repeat(CODES, 256, axis=0)
    given = jax.jit(ONE.log_likelihood)(variables["frozen"], images, codes).reshape(9, 256).T
    prior = jax.jit(TWO.stage_two.log_prob)(prior_of(variables), TWO.written(CODES), KEY)
    return np.asarray(given, np.float64), np.asarray(prior, np.float64)


def prior_of(variables):
    return {"params": variables["params"]["prior"]}


def test_the_bound_is_below_the_enumerated_likelihood(variables, joint):
    """Σ_z p(z) p(x|z) sums to one over images and lies above the bound, with uniform codes and under the prior."""
    given, prior = joint
    np.testing.assert_allclose(np.exp(prior).sum(), 1, rtol=1e-5)
    own = np.asarray(jax.jit(ONE.codes)(variables["frozen"], IMAGES)).reshape(256, 2) @ [3, 1]
    assert len(np.unique(own)) > 2
    for model, of, weight in ((ONE, variables["frozen"], np.full(9, -2 * math.log(3))), (TWO, variables, prior)):
        exact = np.logaddexp.reduce(given + weight, axis=1)
        np.testing.assert_allclose(np.exp(exact).sum(), 1, rtol=1e-5)
        bound = np.asarray(jax.jit(model.log_prob)(of, IMAGES, KEY))
        assert (bound <= exact + 1e-5).all()
        np.testing.assert_allclose(bound, given[np.arange(256), own] + weight[own], rtol=1e-5)


def test_figures_are_those_of_the_bound(variables):
    scores = jax.jit(TWO.scores)(variables, {"image": IMAGES}, KEY)
    np.testing.assert_allclose(scores["nats"], -jax.jit(TWO.log_prob)(variables, IMAGES, KEY), rtol=1e-6)
    np.testing.assert_allclose(scores["nats"], scores["code_nats"] + scores["reconstruction_nats"], rtol=1e-6)
    np.testing.assert_allclose(scores["bits_per_dim"], scores["nats"] / (8 * math.log(2)), rtol=1e-6)


def test_samples_are_the_decoded_codes_of_the_prior(variables, joint):
    """And codes come as often as the prior says."""
    sample = jax.jit(TWO.sample, static_argnums=2)(variables, KEY, 4000)
    digits = jax.jit(TWO.stage_two.sample, static_argnums=2)(prior_of(variables), KEY, 4000)
    codes = np.asarray(digits[..., 0], np.int32)
    every = jax.jit(ONE.decode_codes)(variables["frozen"], CODES)
    number = codes.reshape(-1, 2) @ [3, 1]
    np.testing.assert_array_equal(sample, every[number])
    expected = 4000 * np.exp(joint[1])
    assert (((np.bincount(number, minlength=9) - expected) ** 2) / expected).sum() < 26.1  # χ² of 8: one in a thousand


def test_reconstructions_are_the_means_of_the_likelihood(variables):
    """And an image's vector holds the entries of its codes."""
    one = variables["frozen"]
    at = vectors_of(one["codebook"])[jax.jit(ONE.codes)(one, IMAGES)]
    np.testing.assert_allclose(jax.jit(ONE.encode)(one, IMAGES), at.reshape(256, -1), rtol=1e-6)
    logits = jax.jit(ONE.decoder.apply)({"params": one["params"]["decoder"]}, at)
    np.testing.assert_array_equal(jax.jit(TWO.reconstruct)(variables, IMAGES), logits > 0)


def test_a_mixture_is_read_channel_by_channel():
    """The mean of each channel given those before it, as `log_pmf` of the whole image says."""
    model = dataclasses.replace(ONE, shape=(1, 2, 3), levels=4, components=2)
    one, codes = drawn(model), jnp.array([[[0]], [[2]]])
    image = jax.jit(model.decode_codes)(one, codes)

    @jax.jit
    def pmf(image):
        outputs = model._outputs(one, vectors_of(one["codebook"])[codes])
        return jnp.exp(model.head.log_pmf(outputs, to_float(image, 4)))

    np.testing.assert_array_equal(image, np.round(pmf(image) @ np.arange(4)))
    assert len(np.unique(image)) > 1


def test_the_encoder_gets_the_decoders_gradient_at_the_codes():
    """−∂ log p(x|z)/∂z at z_q, by the decoder alone, enters the encoder as if it had given z_q; and 2β(z_e − z_q)."""
    model = ROWS["vqvae"]
    one, image = variables_of(model), batch_of(model)["image"]

    @jax.jit
    def by_hand(params):
        encoded = lambda params: model._encoded({**one, "params": params}, image)  # noqa: E731
        z, back = jax.vjp(encoded, params)
        quantised = vectors_of(one["codebook"])[model.codes(one, image)]
        likelihood = lambda z: model._log_likelihood(model._outputs(one, z), image).mean()  # noqa: E731
        return back(-jax.grad(likelihood)(quantised) + model.commitment * 2 * (z - quantised) / len(image))[0]

    loss = lambda params: model.objectives()[0].loss({**one, "params": params}, {"image": image}, KEY)[0]  # noqa: E731
    expected, gradient = by_hand(one["params"]), jax.jit(jax.grad(loss))(one["params"])
    for want, have in zip(*map(jax.tree.leaves, (expected["encoder"], gradient["encoder"])), strict=True):
        np.testing.assert_allclose(have, want, rtol=1e-3, atol=1e-4)


def test_codes_are_written_in_digits():
    model = dataclasses.replace(TWO, vqvae=dataclasses.replace(ONE, entries=27), digits=3)
    codes = jnp.arange(27).reshape(-1, 1, 1).repeat(2, axis=2)
    written = model.written(codes)
    np.testing.assert_array_equal(written[14, 0, 0], [1, 1, 2])  # 14 = 1·9 + 1·3 + 2
    np.testing.assert_array_equal(model.read(written), codes)
    assert (model.stage_two.shape, model.stage_two.levels) == ((1, 2, 3), 3)


def test_codes_made_once_train_as_codes_made_in_the_step(variables):
    frozen = {name: tree for name, tree in variables.items() if name != "params"}
    (objective,) = TWO.objectives()
    derived, loss = jax.jit(TWO.derived)(frozen, {"image": IMAGES}), jax.jit(objective.loss)
    np.testing.assert_array_equal(derived["codes"], jax.jit(ONE.codes)(variables["frozen"], IMAGES))
    in_step, _ = loss(variables, {"image": IMAGES}, KEY)
    once, aux = loss(variables, {"image": jnp.zeros_like(IMAGES), **derived}, KEY)
    np.testing.assert_allclose(in_step, once, rtol=1e-6)
    nats = jax.jit(TWO.nats)(variables, IMAGES)["code_nats"].mean()
    np.testing.assert_allclose(aux.metrics["code_nats"], nats, rtol=1e-5)
    np.testing.assert_allclose(aux.shown["bits_per_code"], nats / (2 * math.log(2)), rtol=1e-5)


def test_in_one_run_the_stages_follow_each_other():
    """The same variables otherwise arranged: no codes are made ahead, since they still move."""
    both = dataclasses.replace(TWO, first=5)
    first, second = both.objectives()
    assert [(o.trains, bool(o.acts(4)), bool(o.acts(5))) for o in (first, second)] == [
        (("encoder", "decoder"), True, False),
        (("prior",), False, True),
    ]
    assert both.derived({}, {"image": IMAGES}) == {}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (dict(entries=1), "VQVAE: entries must be at least 2, got 1: a single code says nothing"),
        (dict(commitment=-0.1), "VQVAE: commitment must be at least 0, got -0.1"),
        (dict(decay=1.0), "VQVAE: decay must be at least 0 and below 1, got 1"),
        (dict(features=()), "VQVAE: features must name at least one convolution"),
    ],
)
def test_what_makes_no_vqvae_is_refused(change, said):
    with pytest.raises(UsageError, match=said):
        dataclasses.replace(ONE, **change)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (dict(digits=2), "has 3 codes, which 2 digits of 2 to 256 levels each do not write"),
        (dict(vqvae=dataclasses.replace(ONE, entries=512)), "has 512 codes, which 1 digits of 2 to 256"),
        (dict(prior=dataclasses.replace(CELLS, condition=Classes(3))), "leave the condition of prior away"),
    ],
)
def test_what_makes_no_prior_is_refused(change, said):
    with pytest.raises(UsageError, match=said):
        dataclasses.replace(TWO, **change)


def test_other_sides_are_halved_rounding_up_and_given_back():
    model = functools.partial(dataclasses.replace, ONE, features=(3, 3))
    assert model(shape=(28, 28, 1)).code_shape == (7, 7)
    odd = model(shape=(5, 7, 1))
    assert odd.code_shape == (2, 2)
    shape = jax.eval_shape(lambda: odd.reconstruct(odd.init(KEY, {}), jnp.zeros((2, 5, 7, 1), jnp.uint8))).shape
    assert shape == (2, 5, 7, 1)
