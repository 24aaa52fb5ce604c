"""Auto-encoders against principal components and NumPy: the bound of a linear one, both losses, both kinds of noise."""

import math

import jax
import numpy as np
import optax
import pytest

from jaxgen.core.errors import UsageError
from jaxgen.models.latent.autoencoder import AutoEncoder

KEY = jax.random.key(3)


def images(num, shape, levels, seed=0):
    return np.random.default_rng(seed).integers(0, levels, (num, *shape)).astype(np.uint8)


def test_a_linear_one_comes_to_the_error_of_principal_components_and_no_lower():
    """The least mean squared error of a code of d numbers is the sum of the eigenvalues of the covariance behind the
    first d, over the number of sub-pixels (Baldi and Hornik 1989)."""
    model = AutoEncoder(shape=(2, 3, 1), levels=256, latent=2, hidden=())
    draw = np.random.default_rng(0)
    mixed = draw.normal(size=(60, 6)) @ (draw.normal(size=(6, 6)) * [[3], [2], [1], [0.6], [0.3], [0.1]])
    image = np.clip(128 + 15 * mixed, 0, 255).astype(np.uint8).reshape(-1, 2, 3, 1)
    x = image.reshape(60, 6) / 255.0
    bound = np.linalg.eigvalsh(np.cov(x.T, bias=True))[:4].sum() / 6
    variables, (objective,) = jax.jit(model.init)(KEY, {}), model.objectives()
    optimizer = optax.adam(optax.cosine_decay_schedule(0.05, 1500))

    @jax.jit
    def trained(variables):
        def step(carry, _):
            variables, state = carry
            loss, gradient = jax.value_and_grad(lambda v: objective.loss(v, {"image": image}, KEY)[0])(variables)
            updates, state = optimizer.update(gradient, state)
            return (optax.apply_updates(variables, updates), state), loss

        return jax.lax.scan(step, (variables, optimizer.init(variables)), length=1500)

    (variables, _), losses = trained(variables)
    assert (np.asarray(losses) >= bound * (1 - 1e-4)).all()
    assert bound > 1e-4
    assert losses[0] > 10 * bound
    np.testing.assert_allclose(losses[-1], bound, rtol=0.01)
    mse = model.scores(variables, {"image": image}, KEY)["mse"]
    np.testing.assert_allclose(mse.mean(), losses[-1], rtol=1e-3)


@pytest.mark.parametrize(("net", "reconstruction"), [("dense", "bernoulli"), ("conv", "squared")])
def test_loss_and_figures_are_those_of_the_papers(net, reconstruction):
    """By float64 from the image that a code gives. The cross-entropy of intensities is least where they are met."""
    model = AutoEncoder(shape=(3, 5, 2), levels=5, latent=3, net=net, hidden=(4, 6), reconstruction=reconstruction)
    image = images(4, model.shape, 5)

    @jax.jit
    def everything(key):
        variables = model.init(key, {})
        y = model.intensity(variables, model.encode(variables, image))
        told = (
            model.objectives()[0].loss(variables, {"image": image}, key),
            model.scores(variables, {"image": image}, key),
        )
        return y, told, model.reconstruct(variables, image)

    y, ((loss, aux), scores), back = everything(KEY)
    x, y = image / 4.0, np.asarray(y, np.float64)
    squared = np.array([np.mean((one - other) ** 2) for one, other in zip(x, y, strict=True)])
    wanted = squared.mean()
    if reconstruction == "bernoulli":
        wanted = -(x * np.log(y) + (1 - x) * np.log(1 - y)).sum() / 4
        assert wanted > -(x * np.log(x + 1e-300) + (1 - x) * np.log(1 - x + 1e-300)).sum() / 4
    np.testing.assert_allclose(loss, wanted, rtol=1e-5)
    np.testing.assert_allclose(aux.metrics["mse"], squared.mean(), rtol=1e-5)
    assert set(scores) == {"mse", "psnr", "tail", "image_tail"}
    np.testing.assert_allclose(scores["mse"], squared, rtol=1e-5)
    np.testing.assert_allclose(scores["psnr"], 10 * np.log10(1 / squared), rtol=1e-5)
    values = 4 * np.clip(y, 0, 1)
    clear = np.abs(values % 1 - 0.5) > 1e-4
    assert (np.asarray(back) == np.round(values))[clear].all()


def test_masking_blackens_its_share_and_leaves_the_rest():
    model = AutoEncoder(shape=(10, 10, 1), levels=4, hidden=(), noise="masking", noise_level=0.3)
    image = images(200, model.shape, 3) + np.uint8(1)  # nothing is black before
    seen = np.asarray(jax.jit(model.noisy)(image, KEY))
    masked = seen == 0
    np.testing.assert_allclose(masked.mean(), 0.3, atol=5 * math.sqrt(0.3 * 0.7 / masked.size))
    np.testing.assert_allclose(seen[~masked], (image / 3.0)[~masked], rtol=1e-6)


def test_gaussian_noise_has_its_variance_and_is_not_clipped():
    model = AutoEncoder(shape=(10, 10, 1), levels=4, hidden=(), noise="gaussian", noise_level=0.5)
    image = images(200, model.shape, 4)
    added = np.asarray(jax.jit(model.noisy)(image, KEY), np.float64) - image / 3.0
    assert abs(added.mean()) < 5 * 0.5 / math.sqrt(added.size)
    np.testing.assert_allclose(added.var(), 0.25, rtol=5 * math.sqrt(2 / added.size))
    assert abs(np.corrcoef(added.ravel(), image.ravel())[0, 1]) < 5 / math.sqrt(added.size)


def test_a_denoising_one_is_asked_for_the_clean_image():
    """Its loss is that of the noisy image's code against the image; codes, reconstructions and their figures are of the
    image as it is; noise belongs to examples."""
    model = AutoEncoder(shape=(4, 3, 1), levels=256, latent=3, hidden=(5,), noise="gaussian", noise_level=0.4)
    plain = AutoEncoder(shape=(4, 3, 1), levels=256, latent=3, hidden=(5,))
    image = images(6, model.shape, 256)

    @jax.jit
    def everything(key):
        variables, batch = model.init(key, {}), {"image": image}
        seen = model.noisy(image, key)
        (code,) = model.encoder.apply({"params": variables["params"]["encoder"]}, seen.reshape(6, -1))
        of_noisy = model.noisy(image[:2], key), seen, model.intensity(variables, code), model.decode(variables, code)
        both = [(m.encode(variables, image), m.reconstruct(variables, image)) for m in (model, plain)]
        scores = [m.scores(variables, batch, key) for m in (model, plain)]
        shown = model.shows(variables, batch, key)["reconstructions"]
        return of_noisy, both, scores, model.objectives()[0].loss(variables, batch, key)[0], shown

    (first, seen, intensity, back), both, (scores, of_plain), loss, shown = jax.device_get(everything(KEY))
    error = (intensity - image / 255.0) ** 2
    np.testing.assert_allclose(loss, error.mean(), rtol=1e-5)
    np.testing.assert_allclose(scores.pop("denoising_mse"), error.mean(axis=(1, 2, 3)), rtol=1e-5)
    assert set(scores) == set(of_plain)
    for name in scores:
        np.testing.assert_array_equal(scores[name], of_plain[name])
    for one, other in zip(*both, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(first, seen[:2])
    np.testing.assert_array_equal(shown[:, :, :3], image)
    np.testing.assert_allclose(shown[:, :, 3:6], np.clip(255 * seen, 0, 255), atol=0.501)
    np.testing.assert_array_equal(shown[:, :, 6:], back)


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"latent": 0}, "latent must be at least 1, got 0"),
        ({"hidden": (8, 0)}, r"hidden must be at least 1, got \(8, 0\)"),
        ({"net": "convolution"}, "net must be one of dense, conv, got 'convolution'"),
        ({"net": "conv", "hidden": ()}, r"hidden must name the feature maps .* got \(\)"),
        ({"noise": "mask"}, "noise must be one of none, gaussian, masking, got 'mask'. Did you mean 'masking'?"),
        ({"reconstruction": "bernouli"}, "squared, bernoulli, got 'bernouli'. Did you mean 'bernoulli'?"),
        ({"noise": "masking", "noise_level": 1.0}, "above 0 and below 1 for masking noise, got 1.0"),
        ({"noise": "gaussian", "noise_level": math.inf}, "above 0, and finite for gaussian noise, got inf"),
        ({"noise": "gaussian", "noise_level": 0.0}, "above 0, and finite for gaussian noise, got 0.0"),
    ],
)
def test_what_makes_no_auto_encoder_is_refused(knobs, message):
    with pytest.raises(UsageError, match=f"AutoEncoder: .*{message}".replace("?", r"\?")):
        AutoEncoder(shape=(4, 4, 1), levels=2, **knobs)
