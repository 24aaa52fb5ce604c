"""The PyTorch peers of the benchmarks compute the same function as our models, and the same gradient."""

from __future__ import annotations

import sys

import jax
import numpy as np
import pytest
from helpers import ROOT

from jaxgen.models.pixel.pixelrnn import DiagonalBiLSTM, PixelCNN, RowLSTM

torch = pytest.importorskip("torch", reason="PyTorch is the extra benchmark")
sys.path.insert(0, str(ROOT / "experiments" / "benchmarks"))
import peers  # noqa: E402

GREY, RGB = dict(shape=(6, 5, 1), levels=2), dict(shape=(4, 6, 3), levels=3)
SMALL = dict(layers=2, features=5, head_features=4)
MODELS = [
    PixelCNN(**GREY, **SMALL),
    PixelCNN(**RGB, **SMALL),
    RowLSTM(**RGB, **SMALL),
    DiagonalBiLSTM(**GREY, **SMALL, wiring="paper"),
    DiagonalBiLSTM(**RGB, **SMALL, wiring="full"),
]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: f"{type(model).__name__}-{model.shape[2]}")
def test_same_function_and_gradient_with_the_same_weights(model):
    rng = np.random.default_rng(0)
    image = rng.integers(0, model.levels, (3, *model.shape)).astype(np.uint8)
    batch, key = {"image": jax.numpy.asarray(image)}, jax.random.key(0)
    # Random values everywhere: biases and initial states start at zero, and would hide a fault.
    variables = jax.tree.map(
        lambda leaf: rng.normal(0, 0.4, leaf.shape).astype(np.float32), jax.eval_shape(model.init, key, batch)
    )
    (objective,) = model.objectives()

    @jax.jit
    def ours(variables):
        loss, gradient = jax.value_and_grad(lambda v: objective.loss(v, batch, key)[0])(variables)
        return model.log_pmf(variables, batch["image"]), loss, gradient

    log_pmf, loss, gradient = ours(variables)

    net = peers.load(peers.peer(model), variables)
    pixels = torch.from_numpy(image).permute(0, 3, 1, 2).contiguous()
    outputs = net(pixels.float() / (model.levels - 1)).detach()
    if model.levels == 2:
        outputs = torch.cat([torch.zeros_like(outputs), outputs], -1)
    np.testing.assert_allclose(torch.log_softmax(outputs, -1).numpy(), log_pmf, atol=2e-5)

    actual = net.loss(pixels)
    actual.backward()
    assert actual.item() == pytest.approx(float(loss), rel=1e-5)
    wanted = peers.load(peers.peer(model), gradient)  # our gradient, laid out as the peer's weights
    for (name, parameter), (_, mine) in zip(net.named_parameters(), wanted.named_parameters()):
        mine = mine.detach().numpy()
        np.testing.assert_allclose(parameter.grad.numpy(), mine, atol=2e-5 * max(1.0, np.abs(mine).max()), err_msg=name)
