"""The DCGAN: its geometry, its norms, its two players."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.core.capabilities import Density, require
from jaxgen.core.errors import UsageError
from jaxgen.models.gan.dcgan import DCGAN
from jaxgen.models.gan.nets import pyramid, up_padding

KEY = jax.random.key(3)


def model(shape=(8, 8, 1), **knobs):
    return DCGAN(**{"shape": shape, "levels": 4, "latent": 5, "features": 3, **knobs})


def batch_of(m, num=8, seed=0):
    return {"image": jax.random.randint(jax.random.key(seed), (num, *m.shape), 0, m.levels).astype(jnp.uint8)}


@pytest.mark.parametrize(
    ("shape", "sides"),
    [
        ((64, 64, 3), [4, 8, 16, 32, 64]),
        ((32, 32, 3), [4, 8, 16, 32]),
        ((28, 28, 1), [4, 7, 14, 28]),
        ((8, 8, 1), [4, 8]),
    ],
)
def test_the_maps_of_the_paper_and_of_other_sizes(shape, sides):
    assert pyramid(shape) == [(s, s) for s in sides]


@pytest.mark.parametrize(("small", "large"), [(4, 8), (4, 7), (3, 5), (1, 2), (1, 1), (7, 14)])
def test_an_up_convolution_reverses_the_critics_convolution(small, large):
    """Pixel i of the large map touches pixel j of the small one upwards exactly where it does downwards."""
    kernel = jnp.ones((5, 1, 1))
    names = ("WIO", "NWC")
    down = lambda x: jax.lax.conv_general_dilated(  # noqa: E731
        x[None, :, None], kernel, (2,), "SAME", dimension_numbers=("NWC", "WIO", "NWC")
    )[0, :, 0]
    up = lambda y: jax.lax.conv_transpose(  # noqa: E731
        y[None, :, None], kernel, (2,), [up_padding(small, large)], dimension_numbers=("NWC", names[0], names[1])
    )[0, :, 0]
    downward, upward = jax.jacobian(down)(jnp.zeros(large)), jax.jacobian(up)(jnp.zeros(small))
    assert downward.shape == (small, large)
    np.testing.assert_array_equal(upward.T, downward)


@pytest.mark.parametrize("shape", [(64, 64, 3), (28, 28, 1), (8, 8, 1), (9, 17, 2), (5, 1, 1)])
def test_shapes_of_generator_and_critic(shape):
    """Without running them: widths double with each halving, and every size comes out as it should."""
    m = model(shape)
    variables = jax.eval_shape(m.init, KEY, {})
    image = jax.eval_shape(lambda v: m._apply("generator", v, jnp.zeros((2, m.latent)))[0], variables)
    scores, features = jax.eval_shape(lambda v: m._apply("critic", v, jnp.zeros((2, *shape)))[0], variables)
    assert image.shape == (2, *shape)
    assert scores.shape == (2, 1)
    h, w = pyramid(shape)[0]
    assert features.shape == (2, h * w * 3 * 2 ** (len(pyramid(shape)) - 2))
    widths = [a.shape[-1] for a in jax.tree.leaves(variables["params"]["critic"]) if a.ndim == 4]
    assert widths == [3 * 2**i for i in range(len(pyramid(shape)) - 1)]


def test_sixty_four_pixels_have_the_papers_parameters():
    """Counted by hand for fig. 1 (1024-512-256-128-3, z 100) without biases before a batch norm."""
    m = DCGAN(shape=(64, 64, 3), levels=256, features=128)
    params = jax.eval_shape(m.init, KEY, {})["params"]
    size = {name: sum(a.size for a in jax.tree.leaves(net)) for name, net in params.items()}
    maps = [1024, 512, 256, 128]
    convolutions = 25 * (1024 * 512 + 512 * 256 + 256 * 128 + 128 * 3)
    assert size["generator"] == 100 * 16 * 1024 + convolutions + 2 * sum(maps) + 3
    assert size["critic"] == convolutions + 2 * sum(maps[:-1]) + 128 + 16 * 1024 + 1


def test_initial_weights_are_normal_with_a_fiftieth():
    params = DCGAN(shape=(16, 16, 1), levels=4, features=32).init(KEY, {})["params"]
    kernels = [a.ravel() for path, a in jax.tree_util.tree_leaves_with_path(params) if "kernel" in str(path)]
    values = jnp.concatenate(kernels)
    assert abs(values.mean()) < 1e-4
    assert abs(values.std() - 0.02) < 1e-4


def test_norms_are_not_on_the_generators_output_nor_the_critics_input():
    m = model((16, 16, 1))
    stats = jax.jit(m.init)(KEY, {})["batch_stats"]
    assert [a.shape for a in jax.tree.leaves(stats["generator"])] == [(6,), (6,), (3,), (3,)]
    assert [a.shape for a in jax.tree.leaves(stats["critic"])] == [(6,), (6,)]


def test_nothing_is_biased_before_a_norm():
    """The generator's output has a bias, and so have the critic's first layer and its scores."""
    params = jax.eval_shape(model((16, 16, 1)).init, KEY, {})["params"]
    leaves = jax.tree_util.tree_leaves_with_path(params)
    names = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]
    biased = [name for name in names if name.endswith("bias") and "Norm" not in name]
    assert biased == ["critic/Conv_0/bias", "critic/Scores_0/Dense_0/bias", "generator/ConvTranspose_1/bias"]


def test_real_and_fake_pass_the_critic_apart():
    """The critic's loss is that of two passes, each normalised by its own batch, written out."""
    m = model((16, 16, 1), loss="non-saturating")
    variables, batch = jax.jit(m.init)(KEY, {}), batch_of(model((16, 16, 1)))
    loss, aux = jax.jit(m.objectives()[0].loss)(variables, batch, KEY)
    run = lambda net, name, x: net.apply(  # noqa: E731
        {"params": variables["params"][name], "batch_stats": variables["batch_stats"][name]},
        x,
        train=True,
        mutable=["batch_stats"],
    )
    fake, _ = run(m.generator, "generator", m.prior(jax.random.split(KEY, 3)[0], 8))
    real = batch["image"] / 3 * 2 - 1
    (real_logit, _), stats = run(m.critic, "critic", real)
    (fake_logit, _), _ = run(m.critic, "critic", fake)
    expected = jnp.mean(jnp.logaddexp(0, -real_logit) + jnp.logaddexp(0, fake_logit))
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    alike = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-8)
    jax.tree.map(alike, aux.updates["batch_stats"]["critic"], stats["batch_stats"])
    jax.tree.map(
        np.testing.assert_array_equal, aux.updates["batch_stats"]["generator"], variables["batch_stats"]["generator"]
    )


def test_the_generators_step_updates_its_statistics_alone():
    m = model((16, 16, 1))
    variables = jax.jit(m.init)(KEY, {})
    _, aux = m.objectives()[1].loss(variables, batch_of(m), KEY)
    before, after = variables["batch_stats"], aux.updates["batch_stats"]
    jax.tree.map(np.testing.assert_array_equal, before["critic"], after["critic"])
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), before["generator"], after["generator"])
    assert all(jax.tree.leaves(moved))


@pytest.mark.parametrize("loss", ["minimax", "non-saturating", "least-squares"])
def test_the_generator_minimises_what_it_is_named_for(loss):
    m = model(loss=loss)
    variables = jax.jit(m.init)(KEY, {})
    value, _ = m.objectives()[1].loss(variables, batch_of(m), KEY)
    fake, _ = m._apply("generator", variables, m.prior(jax.random.split(KEY)[0], 8))
    (logit, _), _ = m._apply("critic", variables, fake)
    p = jax.nn.sigmoid(logit)
    expected = {"minimax": jnp.log(1 - p), "non-saturating": -jnp.log(p), "least-squares": (logit - 1) ** 2}[loss]
    np.testing.assert_allclose(value, expected.mean(), rtol=1e-5)


def test_samples_do_not_depend_on_each_other():
    """A batch norm in training mode would couple them: running statistics keep them independent."""
    m = model((16, 16, 1), levels=256)
    variables = jax.jit(m.init)(KEY, {})
    z = m.prior(KEY, 6)
    net = {"params": variables["params"]["generator"], "batch_stats": variables["batch_stats"]["generator"]}
    together = m.generator.apply(net, z, train=False)
    np.testing.assert_allclose(m.generator.apply(net, z[:2], train=False), together[:2], atol=1e-6)
    expected = np.clip(np.round((np.asarray(together) + 1) / 2 * 255), 0, 255)
    assert np.abs(np.asarray(m.sample(variables, KEY, 6)).astype(int) - expected).max() <= 1
    assert (np.abs(m.prior(KEY, 1000)) <= 1).all()


def test_a_gan_has_no_likelihood_and_says_so():
    with pytest.raises(UsageError, match=r"DCGAN cannot score images: a GAN defines a sampler and no likelihood"):
        require(model(), Density, "score images")


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"shape": (4, 4, 1)}, "at least 5 pixels"),
        ({"latent": 0}, "DCGAN: latent must be at least 1, got 0"),
        ({"loss": "hinged"}, "DCGAN: loss must be one of minimax, .* Did you mean 'hinge'"),
    ],
)
def test_bad_knobs(knobs, message):
    with pytest.raises(UsageError, match=message):
        model(**knobs)
