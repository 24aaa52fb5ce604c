"""A loss, gradient or update that is not finite: the run stops and says where, or leaves the step out on request."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers.runs import Log, assert_close
from helpers.stand_ins import Duel, Table, dataset, recipe

from jaxgen.core.model import Aux
from jaxgen.engine.checkpoint.checkpoints import Checkpoints
from jaxgen.engine.fit import fit
from jaxgen.engine.reporter import Diverged


@pytest.mark.parametrize("chunk", [None, 4])
def test_nan_stops_the_run_and_keeps_the_last_good_checkpoint(tmp_path, chunk):
    data = dataset()
    model = Table(explode_at=2.7)
    knobs = recipe(model, data, steps=200, save_every=4, chunk=chunk, optimizer=optax.sgd(2.0), keep=100)
    log = Log()
    with pytest.raises(Diverged, match="'likelihood' gave a loss, gradient or update that is not finite") as caught:
        fit(knobs, data, tmp_path, reporter=log)
    step = caught.value.step
    assert caught.value.objective == "likelihood"
    assert step > 4
    assert max(log.of("saved")) == step // 4 * 4
    # The step is the first bad one: a run that ends there is finite, one more step is not.
    good = fit(dataclasses.replace(knobs, steps=step), data)
    assert np.isfinite(good.state.variables["params"]["table"]).all()
    with pytest.raises(Diverged):
        fit(dataclasses.replace(knobs, steps=step + 1), data)


@pytest.mark.parametrize("on_nan", ["stop", "skip"])
def test_an_update_that_is_not_finite_is_a_fault_of_its_own_step(tmp_path, on_nan):
    """Loss and gradient of step 3 are finite, its rate is not: nothing of it may be kept."""
    data = dataset()
    rate = optax.sgd(lambda count: jnp.where(count == 3, jnp.inf, 0.1))
    knobs = recipe(Table(), data, steps=6, evaluate_every=2, save_every=1, keep=1, optimizer=rate, on_nan=on_nan)
    if on_nan == "skip":  # the count of a step that is left out stays, and so does its rate
        three, six = (fit(dataclasses.replace(knobs, steps=steps), data).state.variables for steps in (3, 6))
        assert_close(six, three, 0)
        return
    with pytest.raises(Diverged, match="at step 3") as caught:
        fit(knobs, data, tmp_path)
    assert caught.value.step == 3
    with Checkpoints(tmp_path / "checkpoints", write=False) as checkpoints:
        assert checkpoints.latest == 3
        assert np.isfinite(checkpoints.variables()["params"]["table"]).all()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bad(Table):
    """A loss that is not finite where a batch holds the example marked by the label 9."""

    def loss(self, variables, batch, key):
        value, aux = super().loss(variables, batch, key)
        return jnp.where((batch["label"] == 9).any(), jnp.nan, value), aux


@pytest.mark.parametrize(("chunk", "parallel"), [(None, "jit"), (7, "jit"), (None, "pmap")])
def test_bad_steps_are_skipped_on_request_and_change_nothing(chunk, parallel):
    data = dataset()
    label = data.train.label.copy()
    label[5] = 9
    bad = dataclasses.replace(data, train=data.train.replaced(label=label))
    knobs = recipe(Bad(), bad, steps=18, optimizer=optax.adam(1e-2), ema=0.9, chunk=chunk, parallel=parallel)
    with pytest.raises(Diverged, match="not finite at step"):
        fit(knobs, bad)
    log, skipping = Log(), dataclasses.replace(knobs, on_nan="skip")
    outcome = fit(skipping, bad, reporter=log)
    assert outcome.step == 18
    # Once in each epoch of six steps the example comes by; the optimiser does not count those steps either.
    assert int(outcome.state.opt_states[0][0].count) == 15
    assert np.isfinite(jax.tree.leaves(outcome.state.variables["params"])[0]).all()
    if chunk is None:
        rows = [e[2] for e in log.events if e[0] == "progress"]
        assert sum(metrics["skipped"] for metrics in rows) == 3
        assert all(("loss" in metrics) == (metrics["skipped"] == 0) for metrics in rows)
    assert_close(fit(skipping, data).state, fit(knobs, data).state, 1e-5)  # other programs, and Adam


def test_a_run_that_skips_every_step_gives_up():
    data = dataset()
    bad = dataclasses.replace(data, train=data.train.replaced(label=np.full(96, 9, np.int32)))
    with pytest.raises(Diverged, match="not finite at step 99, the 100th such step in a row") as caught:
        fit(recipe(Bad(), bad, steps=1000, on_nan="skip"), bad)
    assert caught.value.step == 99


def test_the_fault_names_the_objective_that_failed_first():
    class Broken(Duel):
        def objectives(self):
            def loss(variables, batch, key):
                return jnp.sum(variables["params"]["generator"]["w"]) * jnp.inf, Aux({})

            critic, generator = super().objectives()
            return critic, dataclasses.replace(generator, loss=loss)

    data = dataset()
    with pytest.raises(Diverged) as caught:
        fit(recipe(Broken(), data), data)
    assert (caught.value.step, caught.value.objective) == (0, "generator")
