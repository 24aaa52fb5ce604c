"""What a frozen part makes of each example is made once, trains as if made in the step, and outlives the part's run."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers.runs import ONE, assert_close, assert_equal
from helpers.stand_ins import LEVELS, SHAPE, dataset, recipe

from jaxgen.core.errors import UsageError
from jaxgen.core.model import Aux, ImageModel, Objective
from jaxgen.engine.derived import derived
from jaxgen.engine.fit import fit
from jaxgen.engine.recipe import Graft

GRAFTS = {"frozen/eye": np.linspace(-1, 1, 16, dtype=np.float32)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Probe(ImageModel):
    """A line through what a frozen eye makes of an image."""

    shape: tuple[int, int, int] = SHAPE
    levels: int = LEVELS
    name: str = "seen"

    def init(self, key, batch):
        return {"params": {"line": jnp.zeros(2)}, "frozen": {"eye": jax.random.normal(key, (16,))}}

    def derived(self, variables, batch):
        return {self.name: batch["image"].reshape(-1, 16).astype(jnp.float32) @ variables["frozen"]["eye"]}

    def objectives(self):
        def loss(variables, batch, key):
            seen = batch["seen"] if "seen" in batch else self.derived(variables, batch)["seen"]
            a, b = variables["params"]["line"]
            return jnp.square(a * seen + b - batch["label"]).mean(), Aux({"brought": float("seen" in batch)})

        return (Objective("line", loss, trains=("line",)),)


def test_arrays_made_once_train_as_those_of_every_step(tmp_path):
    """Also after a stop, when only the run's own checkpoint knows the grafted part."""
    data, sgd = dataset(), optax.sgd(1e-2)
    knobs = recipe(Probe(), data, optimizer=sgd, grafts=(Graft(run="", take="", put="frozen/eye"),))
    once = fit(knobs, data, mesh=ONE, grafts=GRAFTS)
    each = fit(knobs, dataset(transform=lambda batch, key, train: batch), mesh=ONE, grafts=GRAFTS)
    assert_close(once.state, each.state)
    assert np.abs(once.state.variables["params"]["line"]).min() > 0
    fit(dataclasses.replace(knobs, steps=4), data, tmp_path, mesh=ONE, grafts=GRAFTS)
    assert_equal(fit(knobs, data, tmp_path, mesh=ONE).state, once.state)


def test_arrays_are_made_of_all_examples_by_the_grafted_part():
    data = dataset(n=601)
    made = derived(recipe(Probe(), data), data, ONE, grafts=GRAFTS)
    np.testing.assert_allclose(
        made["seen"], data.train.image.reshape(601, 16) @ GRAFTS["frozen/eye"], rtol=1e-4, atol=1e-4
    )
    assert derived(recipe(Probe(), data), dataset(transform=lambda batch, key, train: batch), ONE) == {}


def test_a_name_of_the_data_is_refused():
    data = dataset()
    with pytest.raises(UsageError, match="Probe derives 'label', which stand-in has already"):
        derived(recipe(Probe(name="label"), data), data, ONE)
