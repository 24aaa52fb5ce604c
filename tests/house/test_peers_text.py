"""The PyTorch peer of Skip-Thought computes the same function as our model, and the same gradient."""

from __future__ import annotations

import sys

import jax
import numpy as np
import pytest
from helpers import ROOT

from jaxgen.models.text.skipthought import SkipThought

torch = pytest.importorskip("torch", reason="PyTorch is the extra benchmark")
sys.path.insert(0, str(ROOT / "experiments" / "benchmarks"))
import peers_text  # noqa: E402


def test_the_same_loss_and_gradient_with_the_same_weights():
    model, rng = SkipThought(words=7, embedding=3, features=5, decoder_features=4), np.random.default_rng(0)
    inside = np.arange(4) < rng.integers(1, 5, (3, 6, 1))
    rows = np.where(inside, rng.integers(1, 7, (3, 6, 4)), 0).astype(np.int32)
    batch = dict(zip(("before", "words", "after"), rows))
    shapes = jax.eval_shape(model.init, jax.random.key(0), batch)
    variables = jax.tree.map(lambda leaf: rng.normal(0, 0.7, leaf.shape).astype(np.float32), shapes)
    net = peers_text.load(peers_text.peer(model), variables)
    (objective,) = model.objectives()
    loss = jax.jit(jax.value_and_grad(lambda v: objective.loss(v, batch, jax.random.key(0))[0]))
    value, gradient = loss(variables)
    theirs = net.loss(*map(torch.from_numpy, rows.astype(np.int64)))
    theirs.backward()
    assert theirs.item() == pytest.approx(float(value), rel=1e-5)
    params = gradient["params"]
    own = params["encoder"]["embedding"]
    pairs = [
        (net.embedding.weight.grad, own),
        (net.output.weight.grad.T, params["output"]["kernel"]),
        (net.encoder.u.weight.grad.T, params["encoder"]["forwards"]["u"][:, 10:]),
        (net.before.u_gates.weight.grad.T, params["before"]["u"][:, :8]),
        (net.after.condition.weight.grad.T, params["after"]["condition"]["kernel"]),
    ]
    for other, ours in pairs:
        np.testing.assert_allclose(other.numpy(), ours, atol=2e-5)
