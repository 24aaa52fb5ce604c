"""Probabilities and draws: likelihoods that are none and samplers that draw something else are caught."""

import dataclasses
import functools
import re

import jax.numpy as jnp
import numpy as np
import pytest
from helpers.suspects import Diagonal, Linear, run

from jaxgen.core.conditions import Classes, Map, Vector
from jaxgen.core.model import with_field
from jaxgen.models.pixel.ensemble import OrderEnsemble
from jaxgen.models.pixel.pixelrnn import PixelCNN
from jaxgen.verification import sensitivity
from jaxgen.verification.causality import causality
from jaxgen.verification.probability import conditionals, normalisation
from jaxgen.verification.sampling import cached, calibration, frequencies


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("mass", r"probabilities of \(1, 1, 0\) sum to 1.01"),
        ("constant", "nats where the conditionals multiply to"),
        ("apart", "is not the log-softmax of its logits"),
        ("batch", "in one batch and .* in another"),
    ],
)
def test_conditionals_that_are_none_are_caught(fault, said):
    check = run(conditionals, Linear(shape=(9, 10, 1), levels=3, fault=fault))["conditionals"]
    assert check.passed is False
    assert re.search(said, check.detail), check.detail


def test_a_likelihood_that_does_not_sum_to_one_is_caught():
    check = run(normalisation, Linear(shape=(9, 10, 1), levels=3, fault="constant"))["normalisation"]
    assert check.passed is False
    assert f"sum to {np.exp(0.1):.6g}" in check.detail
    # A leak breaks the sum as well.
    assert run(normalisation, Diagonal(shape=(5, 5, 1), levels=2, fault="shift"))["normalisation"].passed is False


def test_a_sampler_that_takes_the_mode_is_caught():
    model = Linear(shape=(9, 10, 1), levels=2, fault="argmax")
    frequency, calibrated = run(frequencies, model)["frequencies"], run(calibration, model)["calibration"]
    assert frequency.passed is False
    assert "came 10,000 times" in frequency.detail
    assert calibrated.passed is False


def test_a_sampler_that_forgets_is_caught_though_tiny_images_do_not_show_it():
    """Rows that are three above: not on 3×3. Drawn by both routes the first pixel that differs is in the fourth row."""
    model = Linear(shape=(9, 10, 1), levels=2, fault="forgets")
    assert run(frequencies, model)["frequencies"].passed
    assert run(calibration, model)["calibration"].passed is False
    check = run(cached, model)["cached = naive"]
    assert check.passed is False
    assert check.worst[0][0] == 3
    assert f"first at {check.worst[0]}" in check.detail


def test_completion_that_ignores_what_is_given_is_caught():
    check = run(cached, Linear(shape=(9, 10, 1), levels=2, fault="ignores"))["cached = naive"]
    assert check.passed is False
    assert check.detail == "complete changes pixels that are given"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PerClass(Linear):
    """Each class has weights of its own; with the fault, the second one's likelihood is doubled."""

    def forms(self):
        return {**super().forms(), "class": (3, self.levels)}

    def example_condition(self, num):
        return np.arange(num) % 3

    def logits(self, variables, x, condition=None):
        shift = variables["params"]["class"][condition][:, None, None, None]
        return super().logits(variables, x) + shift

    def log_prob(self, variables, image, key, condition=None):
        log_pmf = self.log_pmf(variables, image, condition)
        nats = jnp.take_along_axis(log_pmf, jnp.asarray(image, int)[..., None], axis=-1).sum(axis=(1, 2, 3, 4))
        return nats + np.log(2) * (condition == 1) if self.fault == "second" else nats


def test_a_conditional_model_is_counted_under_more_than_one_condition():
    assert run(normalisation, PerClass(shape=(9, 10, 1), levels=2))["normalisation"].passed
    assert run(causality, PerClass(shape=(9, 10, 1), levels=2))["causality"].passed
    check = run(normalisation, PerClass(shape=(9, 10, 1), levels=2, fault="second"))["normalisation"]
    assert check.passed is False
    assert "sum to 2" in check.detail


def test_conditions_are_the_same_for_all_images():
    made = functools.partial(PixelCNN, shape=(4, 5, 1), levels=2, layers=1, features=4)
    assert sensitivity.same_condition(made(), 3) is None
    assert not sensitivity.is_conditional(made())
    np.testing.assert_array_equal(sensitivity.same_condition(made(condition=Classes(4)), 3, which=1), [1, 1, 1])
    for kind, shape in ((Vector(6), (3, 6)), (Map(2), (3, 4, 5, 2))):
        one, other = (np.asarray(sensitivity.same_condition(made(condition=kind), 3, which)) for which in (0, 1))
        assert one.shape == shape
        assert (one == one[:1]).all()
        assert (one != other).all()


def test_arithmetic_is_set_in_held_models_too():
    part = PixelCNN(shape=(4, 4, 1), levels=2, layers=1, features=4, dtype="bfloat16")
    model = with_field(OrderEnsemble(shape=(4, 4, 1), levels=2, model=part), "dtype", "float64")
    assert model.model.dtype == "float64"
    assert with_field(part, "dtype", "float32") == dataclasses.replace(part, dtype="float32")
    assert with_field(Linear(shape=(4, 4, 1), levels=2), "dtype", "float32") == Linear(shape=(4, 4, 1), levels=2)
