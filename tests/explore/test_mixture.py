"""A mixture in place of the prior: fitted to the codes of images, and its draws decoded."""

import jax
import numpy as np
import pytest
from helpers import recipes
from helpers.cli import answered, refused, saved

import jaxgen
from jaxgen.core.errors import UsageError
from jaxgen.engine.devices.mesh import make_mesh
from jaxgen.explore import mixture
from jaxgen.explore.trained import Trained
from jaxgen.maths import mixtures
from jaxgen.models.gan.dcgan import DCGAN

VAE = "VAE(shape=(size, size, 1), levels=levels, latent=3, hidden=(8,))"


@pytest.fixture(scope="module")
def vae(tmp_path_factory):
    """A VAE's run folder, with random weights."""
    home = tmp_path_factory.mktemp("mixture")
    recipes.write(home)
    (home / "experiments" / "vae.py").write_text(recipes.HEAD.format(title="Tiny VAE", model="VAE", made=VAE))
    return recipes.untrained(home, "vae") / "vae"


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_the_command_draws_the_decoded_codes_of_a_mixture_of_the_training_images(vae, capsys):
    run = jaxgen.load(vae)
    told = answered(
        *(capsys, "sample", vae, "--prior", "mixture", "--components", 2, "--covariance", "diagonal"),
        *("--seed", 3, "--num", 5, "-o", "m.npz"),
    )
    assert (told["prior"], told["components"], told["covariance"], told["codes"]) == ("mixture", 2, "diagonal", 1294)
    z = run.encode(run.dataset.train.image)
    fit, log_likelihood = mixtures.fit(jax.random.key(3), z, 2, "diagonal", 50, mixture.FLOOR)
    assert told["nats"] == pytest.approx(float(log_likelihood[-1]), rel=1e-4)
    many = mixture.codes(fit, 3000, 3)
    np.testing.assert_array_equal(saved("m.npz"), run.decode(many[:5]))
    np.testing.assert_allclose(many.mean(axis=0), z.mean(axis=0), atol=5 * z.std() / 3000**0.5)
    np.testing.assert_allclose(many.std(axis=0), z.std(axis=0), rtol=0.1)


def test_what_has_no_mixture_says_why_before_anything_is_computed(vae, capsys):
    mixed = ("--prior", "mixture")
    assert "--components must be at least 1, got 0" in refused(capsys, "sample", vae, *mixed, "--components", 0)
    assert "has 1 to 1294 components, got 2000" in refused(capsys, "sample", vae, *mixed, "--components", 2000)
    assert "temperature 1, got 0.5" in refused(capsys, "sample", vae, *mixed, "--temperature", 0.5)
    assert "add --prior mixture" in refused(capsys, "sample", vae, "--components", 3)
    gan = Trained(DCGAN(shape=(8, 8, 1), levels=17), {}, make_mesh())
    with pytest.raises(UsageError, match="DCGAN cannot draw from a mixture fitted to the codes of its images"):
        mixture.fitted(gan, np.zeros((3, 8, 8, 1), np.uint8))
