"""The PyTorch peer of Deep Image Prior computes the same function as our model, and the same gradient."""

from __future__ import annotations

import sys

import jax
import numpy as np
import pytest
from helpers import ROOT

from jaxgen.models.one_image.deep_image_prior import DeepImagePrior

torch = pytest.importorskip("torch", reason="PyTorch is the extra benchmark")
sys.path.insert(0, str(ROOT / "experiments" / "benchmarks"))
import peers_one_image  # noqa: E402

MODEL = DeepImagePrior(shape=(7, 10, 3), levels=256, features=(4, 3), skips=(2, 0), depth=2, jitter=0.0)
"""An odd side, a scale with a skip and one without."""


def test_the_same_loss_and_gradient_with_the_same_weights():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (1, *MODEL.shape)).astype(np.uint8)
    shapes = jax.eval_shape(MODEL.init, jax.random.key(0), {"image": image})
    variables = jax.tree.map(lambda leaf: rng.normal(0, 0.5, leaf.shape).astype(np.float32), shapes)
    net = peers_one_image.load(peers_one_image.peer(MODEL), variables)
    (objective,) = MODEL.objectives()

    def loss(params):
        return objective.loss({**variables, "params": params}, {"image": image}, jax.random.key(1))[0]

    ours, gradient = jax.jit(jax.value_and_grad(loss))(variables["params"])
    theirs = net.loss(torch.from_numpy(image.transpose(0, 3, 1, 2) / np.float32(255)))
    theirs.backward()
    np.testing.assert_allclose(theirs.item(), ours, rtol=1e-5)
    scales, params = net.net.scales, gradient["hourglass"]
    convolutions = {"down_0": scales[0].down, "skip_0": scales[0].skip, "deep_1": scales[1].deep, "up_1": scales[1].up}
    for name, block in convolutions.items():
        weight = block.conv.weight.grad.numpy().transpose(2, 3, 1, 0)
        np.testing.assert_allclose(weight, params[name]["kernel"][0], atol=1e-5)
    np.testing.assert_allclose(scales[1].join.weight.grad.numpy(), params["join_1"]["scale"][0], atol=1e-5)
    np.testing.assert_allclose(net.net.image.bias.grad.numpy(), params["image"]["bias"][0], atol=1e-5)
