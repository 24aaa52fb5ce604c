"""Probabilities and draws: likelihoods that are none and samplers that draw something else are caught."""

import dataclasses
import functools
import re

import numpy as np
import pytest
from helpers.suspects import Diagonal, Linear, PerClass, run

from jaxgen.core.conditions import Classes, Map, Vector
from jaxgen.core.model import with_field
from jaxgen.models.pixel.ensemble import OrderEnsemble
from jaxgen.models.pixel.pixelrnn import PixelCNN
from jaxgen.verification import sensitivity
from jaxgen.verification.causality import causality
from jaxgen.verification.probability import conditionals, normalisation
from jaxgen.verification.sampling import cached, calibration, frequencies, independence, tempered
from jaxgen.verification.training import training


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
    actual = run((frequencies, calibration), model)
    assert actual["frequencies"].passed is False
    assert "came 10,000 times" in actual["frequencies"].detail
    assert actual["calibration"].passed is False


def test_a_sampler_that_forgets_is_caught_though_tiny_images_do_not_show_it():
    """Rows that are three above: not on 3×3. Drawn by both routes the first pixel that differs is in the fourth row."""
    model = Linear(shape=(9, 10, 1), levels=2, fault="forgets")
    actual = run((frequencies, calibration, cached), model)
    assert actual["frequencies"].passed
    assert actual["calibration"].passed is False
    check = actual["cached = naive"]
    assert check.passed is False
    assert check.worst[0][0] == 3
    assert f"first at {check.worst[0]}" in check.detail


def test_completion_that_ignores_what_is_given_is_caught():
    check = run(cached, Linear(shape=(9, 10, 1), levels=2, fault="ignores"))["cached = naive"]
    assert check.passed is False
    assert check.detail == "complete changes pixels that are given"


def test_a_conditional_model_is_counted_under_more_than_one_condition():
    model = PerClass(shape=(9, 10, 1), levels=2)
    actual = run((causality, conditionals, normalisation, training, frequencies, calibration, independence), model)
    assert all(one.passed for one in actual.values()), [one.detail for one in actual.values()]
    check = run(normalisation, dataclasses.replace(model, fault="second"))["normalisation"]
    assert check.passed is False
    assert "sum to 2" in check.detail


def test_a_sampler_that_ignores_its_labels_is_caught():
    """By counting where that is possible, and by calibration where it is not."""
    model = PerClass(shape=(9, 10, 1), levels=2, fault="labels")
    actual = run((frequencies, calibration), model)
    assert actual["frequencies"].passed is False
    assert re.search("worst: .* under label [12] came", actual["frequencies"].detail), actual["frequencies"].detail
    assert actual["calibration"].passed is False
    assert "they are drawn under others" in actual["calibration"].detail


@pytest.mark.parametrize(("fault", "lag"), [("pairs", "1 apart"), ("halves", "1,250 apart")])
def test_a_batch_whose_images_share_noise_is_caught(fault, lag):
    """Though each image by itself is drawn from the model."""
    model = Linear(shape=(9, 10, 1), levels=2, fault=fault)
    actual = run((calibration, independence), model)
    assert actual["calibration"].passed
    assert actual["independence"].passed is False
    assert lag in actual["independence"].detail


def test_the_temperature_that_would_be_noticed_is_noticed():
    """A sampler at twice the distance from one is caught, at half of it it passes."""
    model = Linear(shape=(9, 10, 1), levels=2)
    told = {name: check.detail for name, check in run((frequencies, calibration), model).items()}
    noticed = {name: float(re.search(r"would notice a temperature of ([\d.]+)", told[name])[1]) for name in told}
    assert all(1 < temperature < 1.3 for temperature in noticed.values()), noticed
    twice = dataclasses.replace(model, temperature=max(noticed.values()) ** 2)
    assert not any(check.passed for check in run((frequencies, calibration), twice).values())
    half = dataclasses.replace(model, temperature=min(noticed.values()) ** 0.5)
    assert all(check.passed for check in run((frequencies, calibration), half).values())


def test_tempering_divides_the_log_probabilities_of_each_draw():
    """Two dependent bits, the second drawn first: p(b)·p(a|b), each to the power of one half, by hand."""
    pmf = np.array([[0.1, 0.4], [0.2, 0.3]])
    first = np.sqrt(pmf.sum(axis=0)) / np.sqrt(pmf.sum(axis=0)).sum()
    second = np.sqrt(pmf / pmf.sum(axis=0))
    np.testing.assert_allclose(tempered(pmf, [1, 0], 2.0), first * second / second.sum(axis=0))
    np.testing.assert_allclose(tempered(pmf, [0, 1], 1.0), pmf)


def test_a_leak_in_training_only_is_caught():
    """At its place where a model says what each pixel adds to the loss, and by the sum over all images in any case."""
    model = Linear(shape=(9, 10, 1), levels=2, fault="trained")
    actual = run((causality, normalisation, training), model)
    assert actual["causality"].passed
    assert actual["normalisation"].passed
    (r, c, _), other = actual["as trained"].worst
    assert actual["as trained"].passed is False
    assert other == ((r, c + 1, 0) if c < 9 else (r + 1, 0, 0))
    assert actual["as trained"].view.seen[other]
    actual = run(training, Whole(shape=(9, 10, 1), levels=2, fault="trained"))
    assert actual["as trained"].passed is None
    assert actual["objective"].passed is False
    assert "the loss sees what it predicts" in actual["objective"].detail


class Whole(Linear):
    """Does not tell what a pixel adds."""

    pixel_log_prob = None


def test_conditions_are_the_same_for_all_images_or_take_turns():
    made = functools.partial(PixelCNN, shape=(4, 5, 1), levels=2, layers=1, features=4)
    assert sensitivity.same_condition(made(), 3) is None
    assert sensitivity.some_conditions(made(), 5) == [0]
    classes = made(condition=Classes(4, dropout=0.5))
    np.testing.assert_array_equal(sensitivity.same_condition(classes, 3, which=1), [1, 1, 1])
    # One more number than classes: that of no label. Where there are more than are wanted, they are spread over all.
    assert sensitivity.some_conditions(classes, 5) == [0, 1, 2, 3, 4]
    assert sensitivity.some_conditions(made(condition=Classes(1000)), 4) == [0, 333, 666, 999]
    np.testing.assert_array_equal(sensitivity.mixed_condition(classes, [0, 4, 2], 4), [0, -1, 2, 0])
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
