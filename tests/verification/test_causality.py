"""Who sees whom: leaks, blind spots and circles are caught at their place and drawn, and orders are found."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.suspects import Convolutions, Diagonal, Linear, Net, PerClass, raster, run

import jaxgen
from jaxgen.core.orders import ORDERS
from jaxgen.models.pixel.pixelrnn import PixelCNN
from jaxgen.verification import sensitivity
from jaxgen.verification.causality import causality, full_size
from jaxgen.verification.picture import COLOURS, picture
from jaxgen.verification.reading_order import reading_rank


def test_the_unspoiled_nets_pass():
    for model in (Diagonal(shape=(5, 5, 2), levels=2), Convolutions(shape=(5, 5, 1), levels=2)):
        actual = run(causality, model)
        assert all(check.passed for check in actual.values()), [check.detail for check in actual.values()]
    assert "all earlier sub-pixels" in run(causality, Diagonal(shape=(5, 5, 1), levels=2))["order"].detail
    # Of 90·89/2 pairs those that the 3×3 masks see, two deep.
    seen = int(Convolutions(shape=(9, 10, 1), levels=2).context().sum())
    assert f"a hole ({4005 - seen:,} of 4,005 pairs, at most" in actual["order"].detail


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
    actual = run(causality, kind(shape=(5, 5, channels), levels=3, fault=fault))["causality"]
    assert actual.passed is False
    one, other = actual.worst
    assert expected((other[0] - one[0], other[1] - one[1]), (one[2], other[2])), actual.detail
    assert f"the logits of {one} move with {other}" in actual.detail
    assert actual.view.at == one
    assert (actual.view.seen & ~actual.view.declared)[other]
    page = picture(actual.view)
    assert (page == COLOURS["leak"]).all(axis=-1).any()


def test_a_leak_under_one_label_is_caught():
    """Under the last of three: the two networks that are looked at in full are under the others."""
    actual = run(causality, PerClass(shape=(9, 10, 1), levels=2, fault="last"))["causality"]
    assert actual.passed is False
    assert "under label 2" in actual.detail
    variables = PerClass(shape=(9, 10, 1), levels=2).init(jax.random.key(0), {})
    actual = run(full_size, PerClass(shape=(9, 10, 1), levels=2, fault="last"), variables)["full size, trained"]
    assert actual.passed is False
    assert "under label 2" in actual.detail


def test_a_leak_is_caught_at_full_size_with_trained_variables():
    """One that random weights do not have is found in the trained ones, on the model's own size."""
    model = Gated(shape=(13, 11, 1), levels=2)
    assert run(full_size, model)["full size"].passed
    variables = {"params": {"gate": jnp.ones(()), "weights": jnp.ones(2)}}
    actual = run(full_size, model, variables)["full size, trained"]
    assert actual.passed is False
    assert actual.worst[1] == (actual.worst[0][0], actual.worst[0][1] + 1, 0)


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
    actual = run(causality, Linear(shape=(9, 10, 1), levels=2, fault="blind"))
    assert actual["causality"].passed
    check = actual["coverage"]
    assert check.passed is False
    assert check.worst == ((6, 0, 0), (0, 2, 0))
    assert "30 of 4,005 declared pairs never act" in check.detail
    page = picture(check.view)
    assert (page == COLOURS["blind"]).all(axis=-1).any()
    assert not (page == COLOURS["leak"]).all(axis=-1).any()


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
    rank = reading_rank(np.asarray(model.context()))
    np.testing.assert_array_equal(rank[..., 0] // 3, jaxgen.core.orders.order_rank(model.shape, order))
    np.testing.assert_array_equal(rank % 3, np.broadcast_to(np.arange(3), rank.shape))
    number = np.random.default_rng(0).permutation(20)
    context = (number[:, None] > number[None]).reshape(4, 5, 1, 4, 5, 1)
    np.testing.assert_array_equal(reading_rank(context).reshape(-1), number)


def test_the_picture_shows_what_is_seen():
    """Cell by cell: a sub-pixel of the middle channel, with a leak, a blind spot and a declared hole."""
    shape = (3, 4, 2)
    before = raster(shape)[1, 2, 1]
    declared = before.copy()
    declared[0, 3] = False
    seen = declared.copy()
    seen[0, 0, 1], seen[2, 1, 0] = False, True
    page = picture(sensitivity.View((1, 2, 1), declared, seen, before))
    cell = page.shape[0] // 3
    assert page.shape == (3 * cell + 1, 9 * cell + 1, 3)
    wanted = {(1, 2, 1): "own", (0, 0, 1): "blind", (2, 1, 0): "leak", (0, 3, 0): "hole", (0, 3, 1): "hole"}
    for r, j, k in np.ndindex(shape):
        colour = wanted.get((r, j, k), "seen" if before[r, j, k] else "later")
        centre = page[r * cell + cell // 2, (k * 5 + j) * cell + cell // 2]
        assert tuple(centre) == COLOURS[colour], (r, j, k)
