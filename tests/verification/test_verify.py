"""`verify` passes what is right, looks at all that a model offers, and says so of what it does not offer."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import pytest
from helpers import ROOT
from helpers.suspects import Linear

import jaxgen
from jaxgen import verification
from jaxgen.core.capabilities import Autoregressive, Density, Sampler
from jaxgen.core.errors import UsageError
from jaxgen.models.gan.dcgan import DCGAN
from jaxgen.models.latent.vae import VAE
from jaxgen.runs.recipes.build import build
from jaxgen.runs.recipes.file import load_file

RECIPES = [load_file(path) for path in sorted((ROOT / "experiments").glob("*.py"))]


@functools.cache
def report_of(model):
    return jaxgen.verify(model)


def by_model():
    """All recipes, of each model the one of the smallest images first; the others take minutes: `make soak`."""
    made = {file.name: build(file, file.smoke).model for file in RECIPES}
    seen, found = set(), []
    for file in sorted(RECIPES, key=lambda file: math.prod(made[file.name].shape)):
        kind = type(made[file.name])
        marks = [pytest.mark.soak] if kind in seen and issubclass(kind, Density) else []
        found.append(pytest.param(file, id=file.name, marks=marks))
        seen.add(kind)
    return found


@pytest.mark.parametrize("file", by_model())
def test_every_recipe_with_exact_likelihood_passes(file):
    """With its SMOKE knobs, on 10×10 images of three levels at most: what differs in size alone is one model."""
    model = build(file, file.smoke).model
    if not isinstance(model, Density) or not model.exact:
        with pytest.raises(UsageError, match=type(model).__name__):
            jaxgen.verify(model)
        return
    model = dataclasses.replace(model, shape=(10, 10, model.shape[2]), levels=min(model.levels, 3))
    report = report_of(model)
    assert report.ok, str(report)
    if isinstance(model, Autoregressive):
        # A pixel model offers everything.
        assert all(check.passed for check in report.checks), str(report)


@pytest.mark.parametrize(("shape", "levels"), [((11, 12, 1), 2), ((4, 4, 3), 5)])
def test_a_users_own_model_passes(shape, levels):
    report = report_of(Linear(shape=shape, levels=levels))
    assert report.ok, str(report)
    assert [check.name for check in report.checks] == [
        *("order", "causality", "coverage", "full size", "conditionals", "normalisation", "frequencies", "calibration"),
        "cached = naive",
    ]
    assert all(check.passed for check in report.checks)
    assert "in float64" in report["cached = naive"].detail  # the weights are widened
    assert str(report).startswith("Linear: passed\n")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table(Density, Sampler):
    """An exact density that is no product: two images, each with half of the mass, or more."""

    mass: float = 0.5

    def init(self, key, batch):
        return {"params": {"flip": jnp.zeros(())}}

    def objectives(self):
        return ()

    def log_prob(self, variables, image, key, condition=None):
        same = (image == image[:, :1, :1, :1]).all(axis=(1, 2, 3)) & (image[:, 0, 0, 0] < 2)
        return jnp.where(same, jnp.log(self.mass), -jnp.inf)

    def sample(self, variables, key, num, condition=None):
        value = jax.random.bernoulli(key, 0.5, (num, 1, 1, 1)).astype(jnp.uint8)
        return jnp.broadcast_to(value, (num, *self.shape))


def test_a_density_that_is_no_product_is_counted_and_drawn():
    report = jaxgen.verify(Table(shape=(6, 6, 1), levels=4))
    assert report.ok
    passed = {check.name for check in report.checks if check.passed}
    assert passed == {"normalisation", "frequencies"}
    assert report.picture() is None
    report = jaxgen.verify(Table(shape=(6, 6, 1), levels=4, mass=0.6))
    assert not report.ok
    assert "sum to 1.2" in report["normalisation"].detail
    assert str(report).startswith("Table: FAILED\n")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fixed(Linear):
    """Takes no size but its own."""

    def __post_init__(self):
        super().__post_init__()
        if self.shape != (6, 5, 1):
            raise UsageError(f"shape must be (6, 5, 1), got {self.shape}")


def test_a_model_of_one_size_is_looked_at_in_that_size():
    report = jaxgen.verify(Fixed(shape=(6, 5, 1), levels=2))
    assert report.ok
    assert "6×5×1" in report["causality"].detail
    assert {c.name for c in report.checks if c.passed is None} == {"normalisation", "frequencies"}


@pytest.mark.parametrize("model", [VAE(shape=(4, 4, 1), levels=2), DCGAN(shape=(16, 16, 1), levels=4)])
def test_models_without_exact_likelihood_are_told_which_have_it(model):
    with pytest.raises(UsageError, match="PixelCNN") as error:
        jaxgen.verify(model)
    assert type(model).__name__ in str(error.value)


def test_verify_is_a_function_wherever_its_module_was_imported():
    import importlib

    importlib.import_module("jaxgen.verification.verify")
    assert jaxgen.verify is verification.verify
