"""Activations computed again in the backward pass: the same gradient, from less memory."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.pixel import random_variables

from jaxgen.core.errors import UsageError
from jaxgen.models.pixel.gated import GatedPixelCNN
from jaxgen.models.pixel.multiscale import MultiScale
from jaxgen.models.pixel.pixelcnnpp import PixelCNNPlusPlus
from jaxgen.models.pixel.pixelrnn import DiagonalBiLSTM, PixelCNN, RowLSTM
from jaxgen.models.pixel.pixelsnail import PixelSNAIL
from jaxgen.runs import recipes

NETS = [
    PixelCNN(shape=(8, 8, 1), levels=3, layers=6, features=8),
    RowLSTM(shape=(8, 8, 1), levels=3, layers=6, features=8),
    DiagonalBiLSTM(shape=(8, 8, 1), levels=3, layers=6, features=8, dropout=0.3),
    GatedPixelCNN(shape=(8, 8, 1), levels=3, layers=6, features=8, kernel=3, dropout=0.3),
    PixelSNAIL(shape=(8, 8, 1), levels=3, blocks=2, layers=1, features=8),
    PixelCNNPlusPlus(shape=(8, 8, 1), levels=3, layers=1, features=8, resolutions=1, dropout=0.3),
]


@pytest.mark.parametrize("model", NETS, ids=lambda m: type(m).__name__)
def test_the_gradient_is_the_same_and_takes_less_memory(model):
    draw = np.random.default_rng(0)
    batch = {"image": jnp.asarray(draw.integers(0, 3, (8, *model.shape)), jnp.uint8)}
    variables = random_variables(model)
    programs = [gradient(dataclasses.replace(model, remat=r)).lower(variables, batch).compile() for r in (False, True)]
    actual = [program(variables, batch) for program in programs]
    scale = max(float(jnp.abs(g).max()) for g in jax.tree.leaves(actual[0]))
    assert scale > 0
    for a, b in zip(*map(jax.tree.leaves, actual)):
        np.testing.assert_allclose(a, b, atol=1e-6 * max(1.0, scale), equal_nan=False)
    kept, again = (program.memory_analysis().temp_size_in_bytes for program in programs)
    # A CPU computes the unrolled layers of PixelCNN++ again all at once, which saves it little.
    assert again < (kept if isinstance(model, PixelCNNPlusPlus) else 0.75 * kept)


def gradient(model):
    (objective,) = model.objectives()

    def loss(params, batch):
        return objective.loss({"params": params}, batch, jax.random.key(1))[0]

    return jax.jit(lambda variables, batch: jax.grad(loss)(variables["params"], batch))


@pytest.mark.parametrize("name", ["pixelcnn_mnist/orders", "diagonal_mnist/orders", "multiscale_mnist"])
def test_it_and_the_arithmetic_reach_the_models_that_a_model_holds(name):
    """In their nets too, of which there are as many as members or scales."""
    stem, _, preset = name.partition("/")
    file = recipes.find(stem).with_preset(preset) if preset else recipes.find(stem)
    model = recipes.build(file, {"remat": True, "dtype": "bfloat16"}).model
    parts = [model.coarse, model.fine] if isinstance(model, MultiScale) else model.members
    assert len(parts) > 1
    assert {(part.net.remat, part.net.dtype) for part in parts} == {(True, "bfloat16")}


def test_it_is_a_knob_of_every_recipe_whose_model_has_it():
    made = recipes.build(recipes.find("digits"), {"remat": True})
    assert made.model.remat
    with pytest.raises(UsageError, match="VAE has no remat to set"):
        recipes.build(recipes.find("vae_mnist"), {"remat": True})
