"""Chains among codes have the density that the energy and the prior say; energies and likelihoods tell images apart."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import recipes
from helpers.cli import answered, refused, saved
from PIL import Image

import jaxgen
from jaxgen.core.errors import UsageError
from jaxgen.explore.anomaly import auroc, check_strangeness, strangeness
from jaxgen.explore.chains import chains
from jaxgen.explore.trained import Trained
from jaxgen.models.gan.dcgan import DCGAN
from jaxgen.pictures.grid import gridded

MEG = 'MEG(shape=(size, size, 1), levels=levels, net="dense", latent=2, features=1, norm="none")'


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Run folders of an energy model and of a pixel model, with random weights."""
    home = tmp_path_factory.mktemp("chains")
    recipes.write(home)
    (home / "experiments" / "meg.py").write_text(recipes.HEAD.format(title="Tiny MEG", model="MEG", made=MEG))
    return recipes.untrained(home, "meg", "tiny")


@pytest.fixture(scope="module")
def run(home):
    return jaxgen.load(home / "meg")


@pytest.fixture(scope="module")
def steep(run):
    """The same with an energy that moves codes far from the prior."""
    scale = lambda path, leaf: 4 * leaf if "Scores_0" in jax.tree_util.keystr(path) else leaf  # noqa: E731
    params = run.variables["params"]
    energy = jax.tree_util.tree_map_with_path(scale, params["energy"])
    return Trained(run.model, {**run.variables, "params": {**params, "energy": energy}}, run.mesh)


@pytest.fixture(scope="module")
def actual(steep):
    return chains(steep, 200, 150, 0.3, seed=5)


def test_codes_of_a_chain_have_the_prior_tilted_by_the_energy(steep, actual):
    """Their moments are those of exp(−U) over a grid; U is the energy of the images, but for rounding, and ½‖z‖²."""
    model, variables = steep.model, steep.variables
    side = np.linspace(-6, 6, 121, dtype=np.float32)
    grid = jnp.asarray(np.stack(np.meshgrid(side, side), -1).reshape(-1, 2))
    total = np.asarray(jax.jit(model.code_energy)(variables, grid))
    image = np.asarray(jax.jit(model.energy)(variables, model.decode(variables, grid[::300])))
    assert np.corrcoef(image, (total - 0.5 * (grid**2).sum(axis=1))[::300])[0, 1] > 0.95
    weights = np.exp(total.min() - total)[:, None] / np.exp(total.min() - total).sum()
    assert abs((weights * grid**2).sum(axis=0) - 1).max() > 0.2, "the energy moves nothing"
    z = actual.z[:, 30:].reshape(-1, 2)
    for moment in (lambda z: z, np.square, lambda z: z[:, :1] * z[:, 1:]):
        np.testing.assert_allclose(moment(z).mean(axis=0), (weights * moment(grid)).sum(axis=0), atol=0.12)
    np.testing.assert_array_equal((actual.z[:, 1:] != actual.z[:, :-1]).any(axis=-1), actual.accepted)


def test_a_chain_depends_on_its_seed_and_number_alone_and_begins_at_the_prior(steep, actual):
    """Many steps would part chains that differ by rounding: the first ones do not."""
    few = chains(steep, 3, 150, 0.3, seed=5)
    np.testing.assert_allclose(few.z[:, :20], actual.z[:3, :20], atol=1e-4)
    np.testing.assert_array_equal(few.z[:, 0], steep.prior(3, 5))
    steps = np.diff(few.z[:, :2], axis=1)
    assert len(np.unique(steps, axis=0)) == 3


def test_the_command_draws_the_ends_of_chains_and_tells_their_acceptance(home, run, capsys):
    do = ("sample", home / "meg", "--chain", "langevin", "--chain-steps", 4, "--num", 3, "--seed", 5)
    told = answered(capsys, *do, "-o", "c.npz", "--frames", "moments")
    actual = chains(run, 3, 4, kind="langevin", seed=5)
    np.testing.assert_array_equal(saved("c.npz"), run.decode(actual.z[:, -1]))
    assert (told["chain"], told["chain_steps"], told["step_size"], told["acceptance"]) == ("langevin", 4, 0.05, 1.0)
    assert told["frames"] == "moments"
    frames = sorted(Path("moments").iterdir())
    assert [frame.name for frame in frames] == [f"000{i}.png" for i in range(5)]
    with Image.open(frames[0]) as first, Image.open(frames[-1]) as last:
        np.testing.assert_array_equal(np.asarray(first), gridded(run.decode(actual.z[:, 0]), 17)[..., 0])
        np.testing.assert_array_equal(np.asarray(last), gridded(run.decode(actual.z[:, -1]), 17)[..., 0])


def test_what_has_no_chain_says_why(home, capsys):
    meg, mala = home / "meg", ("--chain", "mala")
    assert "--chain-steps must be at least 1, got 0" in refused(capsys, "sample", meg, *mala, "--chain-steps", 0)
    assert "a chain must be a number above 0, got -1" in refused(capsys, "sample", meg, *mala, "--step-size", -1)
    assert "add --chain mala" in refused(capsys, "sample", meg, "--chain-steps", 5)
    assert "leave --prior and --temperature out" in refused(capsys, "sample", meg, *mala, "--temperature", 0.5)
    message = refused(capsys, "sample", home / "tiny", *mala)
    assert "PixelCNN cannot draw by a chain among its codes: it has no energy of codes" in message
    assert "Models that can: MEG" in message


def test_anomalies_are_told_by_energy_and_by_likelihood(home, run, capsys):
    """The area is the share of pairs in which the other image is stranger."""
    noise = np.random.default_rng(0).integers(0, 17, (30, 8, 8, 1)).astype(np.uint8)
    np.savez("noise.npz", image=noise)
    own = run.dataset.test.image[np.linspace(0, 359, 40).astype(int)]
    told = answered(capsys, "anomaly", home / "meg", "--against", "noise.npz", "--num", 40)
    pairs = run.energy(noise)[:, None] - run.energy(own)
    assert told["auroc"] == pytest.approx(((pairs > 0) + 0.5 * (pairs == 0)).mean(), abs=1e-6)
    assert (told["by"], told["own_num"], told["against_num"]) == ("energy", 40, 30)
    pixel = jaxgen.load(home / "tiny")
    assert check_strangeness(pixel.model) == "−log p"
    np.testing.assert_array_equal(strangeness(pixel, noise), -pixel.log_prob(noise))
    with pytest.raises(UsageError, match="DCGAN cannot tell strange images: it has neither an energy nor a likelihood"):
        check_strangeness(DCGAN(shape=(8, 8, 1), levels=17))


def test_an_area_of_nothing_or_of_no_numbers_is_refused():
    with pytest.raises(UsageError, match="got 2 of one and 0 of the other"):
        auroc(np.zeros(2), np.zeros(0))
    with pytest.raises(UsageError, match="some of these images have none"):
        auroc(np.zeros(2), np.full(1, np.nan))
