"""Models of vectors and of maps, from an .npz with conditions to a trained run and what it draws."""

import dataclasses

import jax
import numpy as np
import optax
import pytest
from helpers.conditional import MODELS, SHAPE, write
from helpers.stand_ins import recipe

from jaxgen.core.conditions import Classes, Map, Vector
from jaxgen.core.errors import UsageError
from jaxgen.data.dataset import Split, check_split
from jaxgen.engine.devices.mesh import make_mesh
from jaxgen.engine.evaluate import evaluate, example_condition
from jaxgen.engine.fit import fit
from jaxgen.engine.preflight import check
from jaxgen.engine.reporter import Reporter


@pytest.fixture(params=MODELS)
def kind(request):
    return request.param


def settings(**changes):
    return {"optimizer": optax.adam(0.05), "batch": 16, "steps": 40, "samples": 24} | changes


def test_training_learns_what_the_conditions_say(kind, tmp_path):
    """With its own condition an image costs little more than its noise; with the opposite one far more."""
    data, model = write(tmp_path / "data.npz", kind), MODELS[kind]
    assert data.train.condition.dtype == np.float32

    class Kept(Reporter):
        def sampled(self, step, image):
            self.image = image

    kept, mesh = Kept(), make_mesh()
    outcome = fit(recipe(model, data, **settings()), data, mesh=mesh, reporter=kept)
    noise = -(0.9 * np.log2(0.9) + 0.1 * np.log2(0.1))
    assert outcome.metrics["test/bits_per_dim"] < noise + 0.25
    other = data.test.replaced(condition=-data.test.condition)
    variables = jax.device_get(outcome.state.variables)
    assert evaluate(model, variables, other, mesh=mesh)["bits_per_dim"] > noise + 0.5
    # The grid shows the first validation images' conditions, from the start where there are fewer of them.
    condition = data.valid.condition[np.arange(24) % 20]
    said = condition[:, :1, None, None] > 0 if kind == "vector" else condition > 0
    assert (kept.image == said).mean() > 0.7


def test_streamed_and_resident_data_bring_the_same_conditions(kind, tmp_path):
    data = write(tmp_path / "data.npz", kind)
    states = [
        fit(recipe(MODELS[kind], data, **settings(steps=3)), data, budget=budget).state for budget in (0, 1 << 20)
    ]
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b), *(state.variables["params"] for state in states))


def of_image(batch, key, train):
    """A map made of the image: what is beside it stays."""
    return {**batch, "condition": (batch["image"] > 0).astype(np.float32)}


def test_a_transform_may_make_the_condition(tmp_path):
    """What is looked at is what the model sees."""
    data, model = write(tmp_path / "data.npz", "map", conditions=False), MODELS["map"]
    made = dataclasses.replace(data, transform=of_image)
    with pytest.raises(UsageError, match='PixelCNN is conditional, but its data have no "condition"'):
        check(recipe(model, data), data, make_mesh())
    outcome = fit(recipe(model, made, **settings()), made)
    assert outcome.metrics["test/bits_per_dim"] < 0.2
    np.testing.assert_array_equal(example_condition(model, made, 3), data.valid.image[:3])
    wide = dataclasses.replace(model, condition=Map(2))
    with pytest.raises(UsageError, match=r"wants a condition of shape \(64, 3, 4, 2\), got \(64, 3, 4, 1\)"):
        check(recipe(wide, made), made, make_mesh())


def test_labels_behind_a_transform_are_still_looked_at():
    split = Split(np.zeros((4, *SHAPE), np.uint8), np.array([0, 1, 2, 7], np.int32))
    model = dataclasses.replace(MODELS["map"], condition=Classes(3))
    with pytest.raises(UsageError, match="knows the classes 0 to 2: got 7"):
        check_split(model.check_data, split, of_image)
    check_split(model.check_data, split, lambda batch, key, train: {**batch, "label": batch["label"] % 3})


def test_what_does_not_fit_is_one_sentence(kind, tmp_path):
    data, bare = write(tmp_path / "data.npz", kind), write(tmp_path / "bare.npz", kind, conditions=False)
    model, name = MODELS[kind], type(MODELS[kind]).__name__
    with pytest.raises(UsageError, match=f'^{name} is conditional, but its data have no "condition"$'):
        check(recipe(model, bare), bare, make_mesh())
    wide = dataclasses.replace(model, condition=Vector(5) if kind == "vector" else Map(5))
    with pytest.raises(UsageError, match=rf"^{name} wants a condition of shape \(64, .*5\), got \(64, "):
        check(recipe(wide, data), data, make_mesh())
    with pytest.raises(UsageError, match=r"wants a condition of shape \(16, "):
        evaluate(wide, {}, data.test)
    assert example_condition(dataclasses.replace(model, condition=None), data, 4) is None
