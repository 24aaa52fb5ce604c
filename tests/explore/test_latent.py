"""Latent codes: ways between them against closed forms, images of codes against a model's own samples."""

import dataclasses
import functools

import jax
import numpy as np
import pytest
import scipy.stats

from jaxgen.core.errors import UsageError
from jaxgen.engine.devices.mesh import make_mesh
from jaxgen.explore import latent
from jaxgen.explore.trained import Trained
from jaxgen.models.flow.nice import NICE
from jaxgen.models.gan.dcgan import DCGAN
from jaxgen.models.latent.vae import VAE
from jaxgen.models.pixel.pixelrnn import PixelCNN

STRAIGHT = DCGAN(shape=(8, 8, 1), levels=17, latent=4, features=4)
SPHERICAL = VAE(shape=(8, 8, 1), levels=17, latent=6, hidden=(8,))


class Otherwise(VAE):
    """Its codes of images are longer than those that it decodes."""

    def encode(self, variables, image, condition=None):
        return jax.numpy.zeros((len(image), 9))


OTHERWISE = Otherwise(**{field.name: getattr(SPHERICAL, field.name) for field in dataclasses.fields(SPHERICAL)})


@functools.cache
def trained(model):
    """Weights strong enough that codes matter."""
    draw = np.random.default_rng(0)
    variables = jax.jit(model.init)(jax.random.key(0), {})
    noisy = jax.tree.map(lambda a: a + 0.3 * draw.standard_normal(a.shape, np.float32), variables)
    return Trained(model, noisy, make_mesh())


def pairs(model, num=3):
    a, b = (np.asarray(model.prior(jax.random.key(seed), num)) for seed in (0, 1))
    return a, b


# --- ways ----------------------------------------------------------------------------------------------------------


def test_a_straight_way_is_the_weighted_mean():
    a, b = pairs(STRAIGHT)
    t = np.linspace(0, 1, 7)[:, None]
    expected = (1 - t) * a[:, None] + t * b[:, None]
    np.testing.assert_allclose(latent.interpolate(STRAIGHT, a, b, 7), expected, atol=1e-6)


def test_a_spherical_way_turns_by_equal_angles_in_the_plane_of_its_ends():
    """Directions advance by the same angle at each step, lengths by the same amount, and nothing leaves the plane."""
    a, b = (x.astype(np.float64) for x in pairs(SPHERICAL))
    codes = latent.interpolate(SPHERICAL, a, b, 9).astype(np.float64)
    np.testing.assert_allclose(codes[:, 0], a, atol=1e-5)
    np.testing.assert_allclose(codes[:, -1], b, atol=1e-5)
    long = np.linalg.norm(codes, axis=-1)
    t = np.linspace(0, 1, 9)
    np.testing.assert_allclose(long, (1 - t) * long[:, :1] + t * long[:, -1:], rtol=1e-5)
    unit = codes / long[..., None]
    whole = np.arccos((unit[:, 0] * unit[:, -1]).sum(-1))
    steps = np.arccos((unit[:, 1:] * unit[:, :-1]).sum(-1))
    np.testing.assert_allclose(steps, np.broadcast_to(whole[:, None] / 8, steps.shape), rtol=1e-3)
    for row in codes:
        assert np.linalg.matrix_rank(row, tol=1e-4) == 2


def test_the_middle_of_a_right_angle_has_the_ends_length():
    """A straight way would fall to the root of a half: a place where draws of the prior do not lie."""
    a, b = 2 * np.eye(6, dtype=np.float32)[None, 0], 2 * np.eye(6, dtype=np.float32)[None, 1]
    middle = latent.interpolate(SPHERICAL, a, b, 3)[0, 1]
    np.testing.assert_allclose(middle, [2**0.5, 2**0.5, 0, 0, 0, 0], atol=1e-6)


@pytest.mark.parametrize("scale", [1.0, 3.0, -1.0])
def test_ends_on_one_line_are_joined_straight(scale):
    a = np.arange(1, 7, dtype=np.float32)[None]
    codes = latent.interpolate(SPHERICAL, a, scale * a, 5)
    factor = np.linspace(1, scale, 5)[:, None]
    np.testing.assert_allclose(codes[0], factor * a, atol=1e-4)


def test_a_way_by_its_name_goes_before_the_priors():
    a, b = pairs(SPHERICAL)
    t = np.linspace(0, 1, 4)[:, None]
    np.testing.assert_allclose(
        latent.interpolate(SPHERICAL, a, b, 4, "straight"), (1 - t) * a[:, None] + t * b[:, None], atol=1e-6
    )
    a, b = pairs(STRAIGHT)
    codes = latent.interpolate(STRAIGHT, a.reshape(3, 2, 2), b.reshape(3, 2, 2), 3, "spherical")
    long = np.linalg.norm(codes.reshape(3, 3, 4), axis=-1)
    np.testing.assert_allclose(long[:, 1], (long[:, 0] + long[:, 2]) / 2, rtol=1e-5)


def test_conditions_change_evenly_where_they_can_and_halfway_where_they_are_labels():
    a, b = np.array([1, 2], np.int32), np.array([1, 5], np.int32)
    assert latent.conditions_between(a, b, 4).tolist() == [[1, 1, 1, 1], [2, 2, 5, 5]]
    a, b = np.zeros((1, 2), np.float32), np.array([[1, 2]], np.float32)
    np.testing.assert_allclose(latent.conditions_between(a, b, 3), [[[0, 0], [0.5, 1], [1, 2]]])
    maps = latent.conditions_between(np.zeros((2, 3, 4, 1), np.float32), np.ones((2, 3, 4, 1), np.float32), 5)
    np.testing.assert_allclose(maps[1, :, 2, 3, 0], np.linspace(0, 1, 5))
    assert latent.conditions_between(None, None, 3) is None


@pytest.mark.parametrize("closed", [True, False])
def test_conditions_of_a_walk_are_those_of_its_points_where_it_passes_them(closed):
    points, label = pairs(STRAIGHT)[0], np.array([3, 7, 5], np.int32)
    along, codes = latent.conditions_along(label, 4, closed), latent.walk(STRAIGHT, points, 4, closed)
    assert len(along) == len(codes) == (12 if closed else 9)
    assert along[::4].tolist() == [3, 7, 5]
    assert along[:5].tolist() == [3, 3, 3, 7, 7]


@pytest.mark.parametrize("model", [STRAIGHT, SPHERICAL])
def test_a_walk_goes_through_its_points_in_legs_of_equal_length(model):
    points, _ = pairs(model, 4)
    closed, open_ = latent.walk(model, points, 3), latent.walk(model, points, 3, closed=False)
    assert (len(closed), len(open_)) == (12, 10)
    np.testing.assert_allclose(closed[::3], points, atol=1e-5)
    np.testing.assert_allclose(open_[::3], points, atol=1e-5)
    np.testing.assert_array_equal(open_[:9], closed[:9])
    np.testing.assert_allclose(closed[9:], latent.interpolate(model, points[3:], points[:1], 4)[0, :3], atol=1e-6)


def test_a_traversal_changes_one_dimension_only():
    z = np.arange(6, dtype=np.float32)
    codes = latent.traverse(z, [4, 1], [-3.0, 0.0, 3.0])
    for row, dimension in enumerate((4, 1)):
        np.testing.assert_array_equal(codes[row, :, dimension], [-3, 0, 3])
        others = np.delete(codes[row], dimension, axis=1)
        np.testing.assert_array_equal(others, np.tile(np.delete(z, dimension), (3, 1)))
    square = latent.traverse(z.reshape(2, 3), [4], [9.0])
    np.testing.assert_array_equal(square[0, 0], [[0, 1, 2], [3, 9, 5]])


@pytest.mark.parametrize(("model", "most"), [(STRAIGHT, 1.0), (SPHERICAL, 3.0)])
def test_numbers_are_varied_as_far_as_the_prior_goes(model, most):
    np.testing.assert_allclose(latent.prior_span(model), (-most, most), atol=0.11)


def test_codes_are_varied_around_their_mean_and_no_further_than_they_go():
    assert latent.span(np.array([[4.0, 6.0]])) == (4.0, 6.0)
    z = np.concatenate([np.tile([-1.0, 1.0], 500), [50.0]])
    assert latent.span(z[None]) == (-1.0, round(z.mean() + 3 * z.std(), 1))


def test_the_most_active_dimensions_are_those_that_move_the_image():
    weights = np.array([1.0, 0.0, 5.0, 3.0])  # how far each number moves every pixel

    def decode(z, condition):
        return np.broadcast_to((z @ weights)[:, None, None, None] + 100, (len(z), 2, 2, 1)).astype(np.uint8)

    assert latent.active(decode, np.zeros(4, np.float32), 3, (-1.0, 1.0)).tolist() == [2, 3, 0]


def test_the_most_informative_dimensions_are_those_that_differ_from_image_to_image():
    codes = np.random.default_rng(0).normal(size=(500, 2, 2)) * np.array([[1.0, 0.0], [3.0, 0.5]]) + 7
    order, variance = latent.informative(codes)
    assert order.tolist() == [2, 0, 3, 1]
    np.testing.assert_allclose(variance, codes.reshape(500, 4).var(axis=0)[order])


# --- images of codes -----------------------------------------------------------------------------------------------


def test_decoded_draws_of_the_prior_are_the_samples():
    run = trained(STRAIGHT)
    z = run.prior(11, 3)
    np.testing.assert_array_equal(run.decode(z), run.sample(11, 3))
    np.testing.assert_array_equal(run.prior(4, 3), z[:4])
    assert len(np.unique(z, axis=0)) == 11


def test_reconstructions_are_decoded_codes():
    run = trained(SPHERICAL)
    image = run.sample(5, 1)
    np.testing.assert_array_equal(run.reconstruct(image), run.decode(run.encode(image)))
    np.testing.assert_allclose(run.encode(image), run.model.encode(run.variables, image), atol=1e-5)


@pytest.mark.parametrize("bound", [1e-3, 0.5, 2.0])
def test_a_truncated_prior_is_the_normal_one_within_its_bound(bound):
    """By Kolmogorov's distance of 40,000 draws, which is beyond 1.9 / √40,000 once in a thousand times; draws keep
    their order, and a bound that none of them reaches leaves them as they are."""
    z = np.random.default_rng(0).standard_normal((10_000, 4)).astype(np.float32)
    cut = latent.truncated(z, bound)
    assert np.abs(cut).max() <= np.float32(bound)
    assert scipy.stats.kstest(cut.ravel(), scipy.stats.truncnorm(-bound, bound).cdf).statistic < 0.0095
    assert (np.diff(cut[np.argsort(z[:, 0]), 0]) >= 0).all()
    np.testing.assert_allclose(latent.truncated(z, 30.0), z, rtol=1e-5)


def test_priors_that_are_normal_are_told_by_their_draws():
    latent.check_normal(SPHERICAL)
    with pytest.raises(UsageError, match=r"of a prior N\(0, I\), and DCGAN has another, from -1 to 1"):
        latent.check_normal(STRAIGHT)
    with pytest.raises(UsageError, match="NICE has another"):  # a logistic one
        latent.check_normal(NICE(shape=(2, 2, 1), levels=2, features=2, layers=1))


def test_codes_in_rows_are_decoded_each_with_its_condition():
    codes = np.arange(6, dtype=np.float32).reshape(2, 3, 1)

    def decode(z, condition):
        return (z + 10 * condition[:, None])[:, :, None, None].astype(np.uint8)

    image = latent.decoded(decode, codes, np.array([[1, 2, 3], [4, 5, 6]]))
    assert image[..., 0, 0, 0].tolist() == [[10, 21, 32], [43, 54, 65]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: trained(STRAIGHT).decode(np.zeros((2, 5))), r"wanted codes \[b, 4\], got shape \[2, 5\]"),
        (lambda: trained(STRAIGHT).decode(np.full((1, 4), np.nan)), "finite numbers"),
        (lambda: trained(STRAIGHT).decode(np.zeros((1, 4)), np.zeros(1, int)), "DCGAN is unconditional"),
        (lambda: trained(STRAIGHT).encode(np.zeros((1, 8, 8, 1), np.uint8)), "DCGAN cannot encode images"),
        (lambda: latent.interpolate(STRAIGHT, np.zeros((2, 4)), np.zeros((1, 4)), 3), "as many ends as beginnings"),
        (lambda: latent.interpolate(STRAIGHT, *pairs(STRAIGHT), 1), "at least 2 steps"),
        (lambda: latent.walk(STRAIGHT, np.zeros((1, 4)), 3), "at least 2 points"),
        (lambda: latent.traverse(np.zeros(4), [4], [0.0]), "dimensions 0 to 3, got 4"),
        (lambda: latent.interpolate(STRAIGHT, *pairs(STRAIGHT), 3, "curved"), "straight or spherical, got 'curved'"),
        (lambda: latent.truncated(np.zeros((1, 2)), 0.0), "truncation must be a number above 0, got 0"),
        (lambda: latent.truncated(np.zeros((1, 2)), float("inf")), "truncation must be a number above 0, got inf"),
        (lambda: latent.check_encodes(OTHERWISE), r"as \[9\] numbers, but decodes codes of \[6\]"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(UsageError, match=message):
        call()


def test_a_model_without_codes_says_so():
    model = PixelCNN(shape=(8, 8, 1), levels=2, layers=1, features=4, head_features=4)
    with pytest.raises(UsageError, match=r"PixelCNN cannot draw latent codes: .* Models that can: .*VAE"):
        Trained(model, {}, make_mesh()).prior(2)
