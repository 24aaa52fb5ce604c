"""Parameters spread over the devices: the same run, and less of it on each of them."""

import dataclasses

import jax
import numpy as np
import optax
import pytest
from helpers.runs import EIGHT, ONE, assert_close, assert_equal
from helpers.stand_ins import Duel, Noisy, Table, dataset, jitter, recipe

from jaxgen.engine.devices.mesh import LEAST_SPREAD, spread
from jaxgen.engine.feed import make_feed
from jaxgen.engine.fit import fit
from jaxgen.engine.programs import Programs
from jaxgen.engine.state import init_state
from jaxgen.models.pixel.gated import GatedPixelCNN

WIDE, WIDER = (16, 16, 1), (32, 32, 1)


def shares(state):
    """Each leaf's share of its elements on one device."""
    return [leaf.addressable_shards[0].data.size / leaf.size for leaf in jax.tree.leaves(state) if leaf.size > 1]


@pytest.mark.parametrize(
    "model",
    [Table(shape=WIDE), Noisy(shape=WIDE, width=64), Duel(shape=WIDER, critic_every=2)],
    ids=lambda m: type(m).__name__,
)
def test_a_spread_run_equals_one_device(model, tmp_path):
    data = dataset(shape=model.shape, transform=jitter)
    knobs = recipe(model, data, ema=0.9, clip=1.0, evaluate_every=5, samples=8)
    one = fit(knobs, data, mesh=ONE)
    spread_out = fit(dataclasses.replace(knobs, parallel="fsdp"), data, tmp_path, mesh=EIGHT)
    assert_close(one.state, spread_out.state)
    assert min(shares(spread_out.state)) == 1 / 8
    for name, value in one.metrics.items():
        assert value == pytest.approx(spread_out.metrics[name], rel=1e-4 if name.endswith("_stderr") else 1e-6)
    # A spread run goes on as a whole one, and a whole one spread.
    more = dataclasses.replace(knobs, steps=14)
    assert_close(fit(more, data, tmp_path, mesh=EIGHT).state, fit(more, data, mesh=ONE).state)
    last = dataclasses.replace(knobs, steps=18, parallel="fsdp")
    assert_close(fit(last, data, tmp_path, mesh=EIGHT).state, fit(last, data, mesh=EIGHT).state)


def test_leaves_are_split_along_their_longest_axis_that_the_devices_divide():
    sizes = {"a": (24, 64, 3), "b": (64, 64), "c": (7, 9, 33), "d": (LEAST_SPREAD // 2,), "e": (), "f": (4096, 2)}
    tree = {name: jax.ShapeDtypeStruct(shape, np.float32) for name, shape in sizes.items()}
    actual = {name: tuple(spec) for name, spec in spread(EIGHT, tree).items()}
    assert actual == {"a": (None, "data"), "b": (None, "data"), "c": (), "d": (), "e": (), "f": ("data",)}


def test_each_device_holds_and_needs_less_memory():
    """By the compiled program's own account, for a net whose parameters outweigh its activations."""
    model = GatedPixelCNN(shape=(6, 6, 1), levels=4, layers=4, features=64, kernel=3, head_features=64)
    data = dataset(n=16, shape=(6, 6, 1), levels=4)

    def account(parallel):
        knobs = recipe(model, data, batch=8, optimizer=optax.adam(1e-3), ema=0.99, parallel=parallel)
        feed = make_feed({"image": data.train.image}, EIGHT, seed=0, batch=8)
        state = jax.eval_shape(lambda: init_state(knobs, {"image": data.train.image[:8]}))
        program = Programs(knobs, data, EIGHT, feed, state)._make(1, (True,))
        actual = program.lower(state, feed.resident, feed.get(0, 1)).compile().memory_analysis()
        return actual.argument_size_in_bytes, actual.argument_size_in_bytes + actual.temp_size_in_bytes

    (whole, most), (share, least) = account("jit"), account("fsdp")
    assert share < 0.2 * whole
    assert least < 0.7 * most


def test_the_same_layout_gives_the_same_bits(tmp_path):
    data = dataset(shape=WIDE)
    knobs = recipe(Table(shape=WIDE), data, parallel="fsdp", steps=12, optimizer=optax.adam(1e-2))
    fit(dataclasses.replace(knobs, steps=6), data, tmp_path)
    assert_equal(fit(knobs, data, tmp_path).state, fit(knobs, data).state)
