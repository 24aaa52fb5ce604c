"""`verify` passes what is right, and catches each seeded fault, by the check made for it, at the right place."""

import dataclasses
import functools
import math
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgen
from jaxgen import verification
from jaxgen.conditions import Classes, Map, Vector
from jaxgen.core import Autoregressive, Completer, Density, Sampler, UsageError
from jaxgen.models import DCGAN, VAE, OrderEnsemble, PixelCNN
from jaxgen.nn.masked import group_mask, groups, raster_taps, tap_conv
from jaxgen.nn.recurrent import shift_down, skew, unskew
from jaxgen.orders import ORDERS
from jaxgen.recipe import build, load_file
from jaxgen.verification import plane, sight
from jaxgen.verification.causality import causality, full_size
from jaxgen.verification.check import Subject, computing_in
from jaxgen.verification.draws import cached, calibration, frequencies
from jaxgen.verification.probability import conditionals, normalisation

RECIPES = [load_file(path) for path in sorted((Path(__file__).parent.parent / "experiments").glob("*.py"))]
KEY = jax.random.key(3)


def run(check, model, variables=None):
    """One check, or several, by name."""
    return {found.name: found for found in check(Subject(model, variables), KEY)}


def raster(shape):
    n = int(np.prod(shape))
    return np.tril(np.ones((n, n), bool), -1).reshape(*shape, *shape)


# --- what is right passes ------------------------------------------------------------------------------------------


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


class Net(Autoregressive):
    """What the stand-ins below share: normal weights, and nothing to train."""

    def init(self, key, batch):
        forms = self.forms()
        keys = jax.random.split(key, len(forms))
        return {"params": {name: jax.random.normal(k, form) for k, (name, form) in zip(keys, forms.items())}}

    def objectives(self):
        return ()

    def context(self):
        return raster(self.shape)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Linear(Net, Sampler, Completer):
    """A user's own model: the logits are linear in what comes before. Drawn naively, so that it is its own measure."""

    fault: str = ""

    def forms(self):
        n = int(np.prod(self.shape))
        return {"weights": (n, n, self.levels), "bias": (n, self.levels)}

    def logits(self, variables, x, condition=None):
        n = int(np.prod(self.shape))
        weights = variables["params"]["weights"] * np.tril(np.ones((n, n)), -1)[..., None]
        if self.fault == "blind":  # the last three rows do not see the third pixel
            weights = weights.at[-30:, 2].set(0)
        flat = x.reshape(len(x), n)
        if self.fault == "step":  # a leak that no derivative shows: whether the pixel after it is positive
            weights = weights + jnp.eye(n, k=1)[..., None] * variables["params"]["bias"][:, None]
            flat = (flat > 0).astype(x.dtype)
        logits = jnp.einsum("ijv,bj->biv", weights, flat) + variables["params"]["bias"]
        if self.fault == "batch":
            logits = logits + logits.mean(axis=0) * jnp.linspace(0, 1, self.levels)
        return logits.reshape(*x.shape, self.levels)

    def log_pmf(self, variables, image, condition=None):
        log_pmf = super().log_pmf(variables, image, condition)
        if self.fault == "mass":  # probabilities of one sub-pixel that sum to 1.01
            log_pmf = log_pmf.at[:, 1, 1].add(np.log(1.01))
        return log_pmf if self.fault != "apart" else log_pmf[..., ::-1]

    def log_prob(self, variables, image, key, condition=None):
        nats = super().log_prob(variables, image, key, condition)
        return nats + 0.1 if self.fault == "constant" else nats

    def sample(self, variables, key, num, condition=None):
        h, w, c = self.shape
        blank, given = jnp.zeros((num, h, w, c), jnp.uint8), jnp.zeros((h, w), bool)
        return self._complete(variables, key, blank, given, self.fault)

    def complete(self, variables, key, image, given, condition=None):
        return self._complete(variables, key, jnp.asarray(image), jnp.asarray(given), self.fault)

    def complete_by_full_passes(self, variables, key, image, given, condition=None):
        return self._complete(variables, key, jnp.asarray(image), jnp.asarray(given), "")

    def _complete(self, variables, key, image, given, fault):
        h, w, c = self.shape

        def step(image, i):
            x = (image / (self.levels - 1)).astype(variables["params"]["bias"].dtype)
            if fault == "forgets":  # all rows but the last three
                x = x * (jnp.arange(h) > i // (w * c) - 3)[:, None, None]
            logits = self.logits(variables, x).reshape(len(image), -1, self.levels)[:, i]
            drawn = jax.random.categorical(jax.random.fold_in(key, i), logits)
            drawn = logits.argmax(axis=-1) if fault == "argmax" else drawn
            flat = image.reshape(len(image), -1)
            kept = given.reshape(-1)[i // c] & (fault != "ignores")
            new = jnp.where(kept, flat[:, i], drawn.astype(jnp.uint8))
            return flat.at[:, i].set(new).reshape(image.shape), None

        return jax.lax.scan(step, image, jnp.arange(h * w * c))[0]


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


# --- who sees whom -------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, kw_only=True)
class Diagonal(Net):
    """One Diagonal BiLSTM layer. The left-to-right stream reads the pixel before and its own earlier colours, the other
    one its whole pixel, which is safe since it is shifted down. Its faults are those seen in public code."""

    fault: str = ""

    def forms(self):
        c, h = self.shape[2], 2 * self.shape[2]
        forms = {"before": (c, 4 * h), "own": (c, 4 * h), "right": (c, 4 * h), "state": (2, 2 * h, 4 * h)}
        return {**forms, "out": (h, c * self.levels), "bias": (c * self.levels,)}

    def logits(self, variables, x, condition=None):
        p, c = variables["params"], self.shape[2]
        h = 2 * c
        hidden, target = groups(h, c), np.repeat(np.arange(c), self.levels)
        gates = groups(h, c, gates=4) if self.fault != "thirds" else groups(4 * h, c)
        own = x @ (p["own"] * group_mask("A", np.arange(c), gates))
        left = jnp.pad(x, ((0, 0), (0, 0), (1, 0), (0, 0)))[:, :, :-1] @ p["before"] + own
        right = (x @ p["right"])[:, :, ::-1]
        lines = skew(jnp.stack([left, right])).transpose(3, 0, 1, 2, 4)
        edge = np.arange(len(lines))[:, None] == np.arange(x.shape[1])

        def step(states, line):
            pre, edge = line
            own, cell = (jnp.where(edge[:, None], 0, a) for a in states)
            rows = (own[:, :, 1:], states[0][:, :, :-1])
            below, above = (jnp.pad(a, ((0, 0), (0, 0), pad, (0, 0))) for a, pad in zip(rows, ((0, 1), (1, 0))))
            near = jnp.concatenate([own, below] if self.fault == "bottom" else [above, own], axis=-1)
            o, f, i, g = jnp.split(pre + jnp.einsum("sbnk,skg->sbng", near, p["state"]), 4, axis=-1)
            cell = jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * jnp.tanh(g)
            hidden = jax.nn.sigmoid(o) * jnp.tanh(cell)
            return (hidden, cell), hidden

        zero = jnp.zeros((2, len(x), x.shape[1], h))
        left, right = unskew(jax.lax.scan(step, (zero, zero), (lines, edge))[1].transpose(1, 2, 3, 0, 4))
        right = right[:, :, ::-1]
        y = left + (right if self.fault == "shift" else shift_down(right))
        return (y @ (p["out"] * group_mask("B", hidden, target)) + p["bias"]).reshape(*x.shape, self.levels)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Convolutions(Net):
    """Mask A, then mask B, 3×3. With the fault, mask B keeps the row below."""

    fault: str = ""

    def taps(self):
        first, second = raster_taps(3)[:-1], raster_taps(3)
        return (first, (*second, (1, -1), (1, 0), (1, 1)) if self.fault == "below" else second)

    def forms(self):
        first, second = self.taps()
        return {"a": (len(first), self.shape[2], 6), "b": (len(second), 6, self.shape[2] * self.levels)}

    def logits(self, variables, x, condition=None):
        first, second = self.taps()
        y = jnp.tanh(tap_conv(x, variables["params"]["a"], first))
        return tap_conv(y, variables["params"]["b"], second).reshape(*x.shape, self.levels)

    def context(self):
        """Two columns to the left, in two rows above too, and there one and two to the right."""
        rows, columns = (np.subtract.outer(np.arange(n), np.arange(n)) for n in self.shape[:2])
        above, left = rows[:, None, :, None], columns[None, :, None, :]
        seen = (above == 0) & (left > 0) | (above == 1) & (left >= -1) | (above == 2) & (left >= -2)
        seen &= abs(left) <= 2
        return np.broadcast_to(seen[:, :, None, :, :, None], (*self.shape, *self.shape))


def test_the_unspoiled_nets_pass():
    for model in (Diagonal(shape=(5, 5, 3), levels=2), Convolutions(shape=(5, 5, 1), levels=2)):
        found = run(causality, model)
        assert all(check.passed for check in found.values()), [check.detail for check in found.values()]
    assert "all earlier sub-pixels" in run(causality, Diagonal(shape=(5, 5, 1), levels=2))["order"].detail
    # Of 90·89/2 pairs those that the 3×3 masks see, two deep.
    seen = int(Convolutions(shape=(9, 10, 1), levels=2).context().sum())
    assert f"a hole ({4005 - seen:,} of 4,005 pairs, at most" in found["order"].detail


BELOW = [(1, -2), (1, -1), (1, 0), (0, 0), (0, 1), (0, 2)]
LEAKS = {
    "the shift down is missing": (Diagonal, "shift", 1, lambda d, k: d[0] == 0 and d[1] >= 0),
    "the column convolution is padded at the bottom": (Diagonal, "bottom", 1, lambda d, k: d[0] >= 1),
    "the 4h map is masked by contiguous thirds": (Diagonal, "thirds", 3, lambda d, k: d == (0, 0) and k[1] >= k[0]),
    "mask B keeps the row below": (Convolutions, "below", 1, lambda d, k: d in BELOW),
    "a step reads the next pixel": (Linear, "step", 1, lambda d, k: d == (0, 1) or d[0] == 1),
}


@pytest.mark.parametrize("name", LEAKS)
def test_a_leak_is_caught_at_its_place_and_drawn(name):
    kind, fault, channels, expected = LEAKS[name]
    found = run(causality, kind(shape=(5, 5, channels), levels=3, fault=fault))["causality"]
    assert found.passed is False
    one, other = found.worst
    assert expected((other[0] - one[0], other[1] - one[1]), (one[2], other[2])), found.detail
    assert f"the logits of {one} move with {other}" in found.detail
    assert found.view.at == one
    assert (found.view.seen & ~found.view.declared)[other]
    page = plane.picture(found.view)
    assert (page == plane.COLOURS["leak"]).all(axis=-1).any()


def test_a_leak_is_caught_at_full_size_with_trained_variables():
    """One that random weights do not have is found in the trained ones, on the model's own size."""
    model = Gated(shape=(13, 11, 1), levels=2)
    assert run(full_size, model)["full size"].passed
    variables = {"params": {"gate": jnp.ones(()), "weights": jnp.ones(2)}}
    found = run(full_size, model, variables)["full size, trained"]
    assert found.passed is False
    assert found.worst[1] == (found.worst[0][0], found.worst[0][1] + 1, 0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gated(Net):
    """Leaks from the right neighbour where a gate is one to the last bit."""

    def forms(self):
        return {"gate": (), "weights": (2,)}

    def logits(self, variables, x, condition=None):
        left = jnp.pad(x, ((0, 0), (0, 0), (1, 0), (0, 0)))[:, :, :-1]
        right = jnp.pad(x, ((0, 0), (0, 0), (0, 1), (0, 0)))[:, :, 1:]
        seen = left + jnp.where(variables["params"]["gate"] == 1, right, 0)
        return seen[..., None] * variables["params"]["weights"]


def test_a_blind_spot_is_caught_unless_it_is_declared():
    found = run(causality, Linear(shape=(9, 10, 1), levels=2, fault="blind"))
    assert found["causality"].passed
    check = found["coverage"]
    assert check.passed is False
    assert check.worst == ((6, 0, 0), (0, 2, 0))
    assert "30 of 4,005 declared pairs never act" in check.detail
    page = plane.picture(check.view)
    assert (page == plane.COLOURS["blind"]).all(axis=-1).any()
    assert not (page == plane.COLOURS["leak"]).all(axis=-1).any()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Declares(Linear):
    """Of what it declares: a circle of the given length."""

    length: int = 1

    def context(self):
        context = raster(self.shape)
        n = int(np.prod(self.shape))
        flat = context.reshape(n, n) & False
        ring = np.arange(self.length) + 7
        flat[ring, np.roll(ring, 1)] = True
        flat[40, 39] = flat[7, 2] = True
        return flat.reshape(context.shape)


@pytest.mark.parametrize("length", [1, 2, 4])
def test_a_declared_circle_is_no_order(length):
    model = Declares(shape=(9, 10, 1), levels=2, length=length)
    check = run(causality, model)["order"]
    assert check.passed is False
    i, j = (int(np.ravel_multi_index(place, model.shape)) for place in check.worst)
    assert model.context().reshape(90, 90)[i, j]
    assert {i, j} <= set(range(7, 7 + length))


@pytest.mark.parametrize("order", ORDERS)
def test_the_order_of_a_context_is_found(order):
    """The eight orders by their own ranks; and a spiral, by sorting."""
    model = PixelCNN(shape=(9, 10, 3), levels=2, layers=1, features=4, order=order)
    rank = plane.reading_rank(np.asarray(model.context()))
    np.testing.assert_array_equal(rank[..., 0] // 3, jaxgen.orders.order_rank(model.shape, order))
    np.testing.assert_array_equal(rank % 3, np.broadcast_to(np.arange(3), rank.shape))
    number = np.random.default_rng(0).permutation(20)
    context = (number[:, None] > number[None]).reshape(4, 5, 1, 4, 5, 1)
    np.testing.assert_array_equal(plane.reading_rank(context).reshape(-1), number)


def test_the_picture_shows_what_is_seen():
    """Cell by cell: a sub-pixel of the middle channel, with a leak, a blind spot and a declared hole."""
    shape = (3, 4, 2)
    before = raster(shape)[1, 2, 1]
    declared = before.copy()
    declared[0, 3] = False
    seen = declared.copy()
    seen[0, 0, 1], seen[2, 1, 0] = False, True
    page = plane.picture(sight.View((1, 2, 1), declared, seen, before))
    cell = page.shape[0] // 3
    assert page.shape == (3 * cell + 1, 9 * cell + 1, 3)
    wanted = {(1, 2, 1): "own", (0, 0, 1): "blind", (2, 1, 0): "leak", (0, 3, 0): "hole", (0, 3, 1): "hole"}
    for r, j, k in np.ndindex(shape):
        colour = wanted.get((r, j, k), "seen" if before[r, j, k] else "later")
        centre = page[r * cell + cell // 2, (k * 5 + j) * cell + cell // 2]
        assert tuple(centre) == plane.COLOURS[colour], (r, j, k)


# --- probabilities and draws ---------------------------------------------------------------------------------------


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
    assert sight.same_condition(made(), 3) is None
    assert not sight.is_conditional(made())
    np.testing.assert_array_equal(sight.same_condition(made(condition=Classes(4)), 3, which=1), [1, 1, 1])
    for kind, shape in ((Vector(6), (3, 6)), (Map(2), (3, 4, 5, 2))):
        one, other = (np.asarray(sight.same_condition(made(condition=kind), 3, which)) for which in (0, 1))
        assert one.shape == shape
        assert (one == one[:1]).all()
        assert (one != other).all()


def test_arithmetic_is_set_in_held_models_too():
    part = PixelCNN(shape=(4, 4, 1), levels=2, layers=1, features=4, dtype="bfloat16")
    model = computing_in(OrderEnsemble(shape=(4, 4, 1), levels=2, model=part), "float64")
    assert model.model.dtype == "float64"
    assert computing_in(part, "float32") == dataclasses.replace(part, dtype="float32")
    assert computing_in(Linear(shape=(4, 4, 1), levels=2), "float32") == Linear(shape=(4, 4, 1), levels=2)


# --- what models do not offer --------------------------------------------------------------------------------------


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

    importlib.import_module("jaxgen.verification")
    assert jaxgen.verify is verification.verify
