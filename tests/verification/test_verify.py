"""`verify` passes what is right, looks at all that a model offers, and says so of what it does not offer."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import pytest
from helpers import ROOT
from helpers.suspects import Linear

import jaxgen
from jaxgen import verification
from jaxgen.core.capabilities import Autoregressive, Density, Sampler
from jaxgen.core.errors import UsageError
from jaxgen.core.model import Model
from jaxgen.models.gan.dcgan import DCGAN
from jaxgen.models.latent.vae import VAE
from jaxgen.runs.recipes.build import build
from jaxgen.runs.recipes.file import load_file
from jaxgen.verification.causality import causality
from jaxgen.verification.probability import normalisation
from jaxgen.verification.sampling import frequencies
from jaxgen.verification.subject import Subject
from jaxgen.verification.training import TrainedPixels
from jaxgen.verification.verify import checked

EXPERIMENTS = sorted((ROOT / "experiments").glob("**/*.py"))
RECIPES = [load_file(path) for path in EXPERIMENTS if "\ndef recipe(" in path.read_text()]


@functools.cache
def report_of(model):
    return jaxgen.verify(model)


SUITE = ("gated_mnist_classes",)
"""Recipes with exact likelihood that are verified in the suite: one, with labels. The sums, contexts and draws
of all models are tested in `contract` and `models` by themselves; `make soak` verifies the others, in minutes."""


def by_recipe():
    """All recipes; those that take minutes are marked."""
    models = [build(file, file.smoke).model for file in RECIPES]
    slow = [isinstance(model, Density) and model.exact for model in models]
    slow = [exact and file.name not in SUITE for exact, file in zip(slow, RECIPES)]
    return [pytest.param(f, id=f.name, marks=[pytest.mark.soak] * minutes) for f, minutes in zip(RECIPES, slow)]


@pytest.mark.parametrize("file", by_recipe())
def test_every_recipe_with_exact_likelihood_passes(file):
    """With its SMOKE knobs, on 9×10 images of three levels at most: what differs in size alone is one model."""
    model = build(file, file.smoke).model
    if not isinstance(model, Density) or not model.exact:
        with pytest.raises(UsageError, match=type(model).__name__):
            jaxgen.verify(model)
        return
    model = dataclasses.replace(model, shape=(9, 10, model.shape[2]), levels=min(model.levels, 3))
    report = report_of(model)
    assert report.ok, str(report)
    if isinstance(model, Autoregressive):
        # A pixel model offers everything, but that one of several networks does not say what a pixel adds to the loss.
        lacks = [] if isinstance(model, TrainedPixels) else ["as trained"]
        assert [check.name for check in report.checks if not check.passed] == lacks, str(report)


@pytest.mark.parametrize(("shape", "levels"), [((11, 12, 1), 2), ((4, 4, 2), 3)])
def test_a_users_own_model_passes(shape, levels):
    report = report_of(Linear(shape=shape, levels=levels))
    assert report.ok, str(report)
    assert [check.name for check in report.checks] == [
        *("order", "causality", "coverage", "full size", "conditionals", "normalisation", "as trained", "objective"),
        *("frequencies", "calibration", "independence", "cached = naive"),
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
    assert passed == {"normalisation", "frequencies", "independence"}
    assert report["objective"].detail == "it has no objective"
    assert report.picture() is None
    report = jaxgen.verify(Table(shape=(6, 6, 1), levels=4, mass=0.6))
    assert not report.ok
    assert "sum to 1.2" in report["normalisation"].detail
    assert str(report).startswith("Table: FAILED\n")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fixed(Linear):
    """Takes no size but its own, and says so when it is made, when it is initialised or when it is used."""

    when: str = "made"

    def _refuse(self, when):
        if when == self.when and self.shape != (6, 5, 1):
            raise ValueError(f"no table for {self.shape}")

    def __post_init__(self):
        super().__post_init__()
        self._refuse("made")

    def init(self, key, batch):
        self._refuse("initialised")
        return super().init(key, batch)

    def logits(self, variables, x, condition=None):
        self._refuse("used")
        return super().logits(variables, x)


@pytest.mark.parametrize("when", ["made", "initialised", "used"])
def test_a_model_of_one_size_is_looked_at_in_that_size(when):
    model = Subject(Fixed(shape=(6, 5, 1), levels=2, when=when))
    actual = {one.name: one for check in (causality, normalisation, frequencies) for one in checked(model, check)}
    assert actual["causality"].passed
    assert "6×5×1" in actual["causality"].detail
    for name in ("normalisation", "frequencies"):
        assert actual[name].passed is None
        assert "1 levels" not in actual[name].detail
        assert "ValueError: no table for" in actual[name].detail


class Broken(Linear):
    """Has a likelihood, but no draws."""

    def sample(self, variables, key, num, condition=None):
        raise KeyError("noise")


def test_a_check_that_raises_at_every_size_has_failed():
    (check,) = checked(Subject(Broken(shape=(6, 5, 1), levels=2)), frequencies)
    assert (check.passed, check.detail) == (False, "it raised KeyError: 'noise'")


@pytest.mark.parametrize("model", [VAE(shape=(4, 4, 1), levels=2), DCGAN(shape=(16, 16, 1), levels=4)])
def test_models_without_exact_likelihood_are_told_which_have_it(model):
    with pytest.raises(UsageError, match="PixelCNN") as error:
        jaxgen.verify(model)
    assert type(model).__name__ in str(error.value)


class Words(Model):
    """No model of images."""

    def init(self, key, batch):
        return {"params": {}}

    def objectives(self):
        return ()


def test_a_model_of_something_else_is_told_which_can_be_verified():
    with pytest.raises(UsageError, match=r"Words cannot be verified by its likelihood: it is no Density. .*PixelCNN"):
        jaxgen.verify(Words())


def test_verify_is_a_function_wherever_its_module_was_imported():
    import importlib

    importlib.import_module("jaxgen.verification.verify")
    assert jaxgen.verify is verification.verify
