"""The PyTorch peers of RealNVP and Glow compute the same densities as our models, and the same gradient."""

from __future__ import annotations

import sys

import jax
import numpy as np
import pytest
from helpers import ROOT

from jaxgen.core.images import to_float
from jaxgen.models.flow.glow import Glow
from jaxgen.models.flow.realnvp import RealNVP

torch = pytest.importorskip("torch", reason="PyTorch is the extra benchmark")
sys.path.insert(0, str(ROOT / "experiments" / "benchmarks"))
import peers_flow  # noqa: E402

MODELS = [
    RealNVP(shape=(4, 6, 1), levels=5, scales=2, blocks=1, features=3),
    Glow(shape=(4, 8, 3), levels=5, scales=2, steps=1, features=3),
]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_the_same_densities_and_gradient_with_the_same_weights_and_noise(model):
    rng = np.random.default_rng(0)
    image, key = rng.integers(0, model.levels, (3, *model.shape)).astype(np.uint8), jax.random.key(3)
    # Random values everywhere: biases and scales start at zero or one, and would hide a fault.
    shapes = jax.eval_shape(model.init, key, {"image": image})
    variables = jax.tree.map(lambda leaf: rng.normal(0, 0.4, leaf.shape).astype(np.float32), shapes)
    noise, _ = model.dequantiser.noise({}, to_float(image, model.levels), key)

    def ours(variables):
        nats = model.log_prob(variables, image, key)
        return -nats.mean() / image[0].size, nats

    gradient, nats = jax.jit(jax.grad(ours, has_aux=True))(variables)
    net = peers_flow.load(peers_flow.peer(model), variables)
    pixels, noise = (torch.from_numpy(np.array(a, np.float32).transpose(0, 3, 1, 2).copy()) for a in (image, noise))
    np.testing.assert_allclose(net.log_prob(pixels, noise).detach().numpy(), nats, rtol=1e-5)
    net.loss(pixels, noise).backward()
    wanted = peers_flow.load(peers_flow.peer(model), gradient)  # our gradient, laid out as the peer's weights
    for (name, parameter), (_, mine) in zip(net.named_parameters(), wanted.named_parameters(), strict=True):
        mine = mine.detach().numpy()
        np.testing.assert_allclose(parameter.grad.numpy(), mine, atol=2e-5 * max(1.0, np.abs(mine).max()), err_msg=name)
