"""What every model must do, whatever its family: a value; deterministic init; a finite, nonzero gradient for each owned
parameter and no move of the others; one trace; a loss that falls on one batch; exact resume. A new model is one row of
`contract.zoo.ROWS`, and what its capabilities ask for stands beside this file."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract.zoo import (
    KEY,
    ONE,
    ONE_EACH,
    OTHER,
    ROWS,
    batch_of,
    compiled,
    numbers,
    objectives,
    rows,
    same,
    training,
    unplaced,
    variables_of,
)

import jaxgen.models
from jaxgen.core.capabilities import CAPABILITIES, require, why_not
from jaxgen.core.errors import UsageError
from jaxgen.engine.checkpoint.checkpoints import Checkpoints


def test_every_exported_model_has_a_row():
    exported = {getattr(jaxgen.models, name) for name in jaxgen.models.__all__}
    assert exported == {type(model) for model in ROWS.values()}


@rows()
def test_a_model_is_a_value(name):
    model = ROWS[name]
    again = dataclasses.replace(model)
    assert model == again
    assert hash(model) == hash(again)
    with pytest.raises(dataclasses.FrozenInstanceError):
        model.levels = 7


@rows(names=ONE_EACH)
def test_init_is_deterministic_and_float32(name):
    model = ROWS[name]
    variables = variables_of(model)
    assert same(variables, compiled(model, "init")(KEY, batch_of(model)))
    assert not same(variables["params"], compiled(model, "init")(OTHER, batch_of(model))["params"])
    assert all(a.dtype == np.float32 and np.isfinite(a).all() for a in jax.tree.leaves(jax.device_get(variables)))


@rows()
def test_every_parameter_is_trained_by_an_objective(name):
    owned = [set(objective.trains) for objective in ROWS[name].objectives()]
    assert set.union(*owned) == set(variables_of(ROWS[name])["params"])


@objectives
def test_the_gradient_reaches_each_owned_parameter_and_moves_no_other(name, index):
    run = training(name, index)
    before, (after, metrics) = run.start, run.step(run.start, batch_of(run.model))
    gradient = jax.device_get(after.opt_states[0][0].trace)
    assert set(gradient) == set(run.owned)
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
        where = jax.tree_util.keystr(path)
        assert np.isfinite(leaf).all(), where
        assert (leaf != 0).any(), where
    old, new = jax.device_get((before.variables["params"], after.variables["params"]))
    for part in old:
        moved = jax.tree.map(lambda a, b: bool((a != b).any()), old[part], new[part])
        assert set(jax.tree.leaves(moved)) == {part in run.owned}, part
    assert all(value.shape == () and np.isfinite(value) for value in metrics.values())
    shapes = functools.partial(jax.tree.map, lambda a: (a.shape, a.dtype))
    assert shapes(after.variables) == shapes(before.variables)


@objectives
def test_a_step_is_traced_once(name, index):
    run = training(name, index)
    state = run.start
    for seed in range(3):
        state, _ = run.step(state, batch_of(run.model, seed=seed))
    assert len(run.model.traces) == 1


@functools.partial(objectives, names=ONE_EACH)
def test_the_loss_falls_on_one_batch(name, index):
    run = training(name, index)
    state, batch, losses = run.start, batch_of(run.model), []
    for _ in range(20):
        state, metrics = run.step(dataclasses.replace(state, step=jnp.int32(0)), batch)  # the same draws each time
        losses.append(float(metrics["loss"]))
    assert losses[-1] < losses[0]
    assert np.mean(losses[10:]) < np.mean(losses[:10])


@functools.partial(objectives, names=ONE_EACH)
def test_resume_is_exact(name, index, tmp_path):
    """Four steps at once, and the last two of them again from a checkpoint of the second: the same bits."""
    run = training(name, index)

    def steps(state, first, last):
        for seed in range(first, last):
            state, _ = run.step(state, batch_of(run.model, seed=seed))
        return state

    half = jax.device_put(steps(run.start, 0, 2), ONE)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(2, half)
    with Checkpoints(tmp_path, write=False) as checkpoints:
        restored = checkpoints.restore(half)
    ends = [numbers(steps(unplaced(state), 2, 4)) for state in (half, restored)]
    assert same(*ends)
    assert not same(ends[0].variables, numbers(half).variables)


@rows()
def test_a_missing_capability_is_explained(name):
    model = ROWS[name]
    for capability in CAPABILITIES:
        if isinstance(model, capability):
            assert require(model, capability, "do it") is model
            continue
        reason = why_not(model, capability)
        assert reason != f"it is no {capability.__name__}", f"{type(model).__name__}.lacks should say why"
        others = {type(m).__name__ for m in ROWS.values() if isinstance(m, capability)}
        with pytest.raises(UsageError) as error:
            require(model, capability, "do it")
        assert all(word in str(error.value) for word in (type(model).__name__, "do it", reason, *others))
