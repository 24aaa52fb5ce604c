"""The PyTorch peer of Gated PixelCNN computes the same function as our model, and the same gradient."""

from __future__ import annotations

import sys

import jax
import numpy as np
import pytest
from helpers import ROOT

from jaxgen.core.conditions import Classes, Map
from jaxgen.models.pixel.gated import GatedPixelCNN

torch = pytest.importorskip("torch", reason="PyTorch is the extra benchmark")
sys.path.insert(0, str(ROOT / "experiments" / "benchmarks"))
import peers_gated  # noqa: E402

GREY, RGB = dict(shape=(6, 5, 1), levels=2), dict(shape=(4, 6, 3), levels=3)
MODELS = {
    "grey": GatedPixelCNN(**GREY, layers=2, features=5, head_features=4),
    "grey-map": GatedPixelCNN(**GREY, layers=1, features=5, head_features=4, kernel=5, condition=Map(2)),
    "rgb": GatedPixelCNN(**RGB, layers=2, features=7, head_features=4, kernel=5),
    "rgb-classes": GatedPixelCNN(**RGB, layers=2, features=5, head_features=4, condition=Classes(3)),
}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_same_function_and_gradient_with_the_same_weights(model):
    rng = np.random.default_rng(0)
    image = rng.integers(0, model.levels, (3, *model.shape)).astype(np.uint8)
    batch, key, features = {"image": jax.numpy.asarray(image)}, jax.random.key(0), None
    if isinstance(model.condition, Classes):
        batch["label"] = jax.numpy.array([2, 0, 1])
    elif model.condition:
        batch["condition"] = rng.normal(size=(3, *model.shape[:2], 2)).astype(np.float32)
    if model.condition:
        features = torch.from_numpy(np.array(model._features(model.condition_of(batch), 3))).permute(0, 3, 1, 2)
    # Random values everywhere: biases start at zero, and would hide a fault.
    variables = jax.tree.map(
        lambda leaf: rng.normal(0, 0.4, leaf.shape).astype(np.float32), jax.eval_shape(model.init, key, batch)
    )
    (objective,) = model.objectives()

    @jax.jit
    def ours(variables):
        loss, gradient = jax.value_and_grad(lambda v: objective.loss(v, batch, key)[0])(variables)
        return model.log_pmf(variables, batch["image"], model.condition_of(batch)), loss, gradient

    log_pmf, loss, gradient = ours(variables)

    net = peers_gated.load(peers_gated.peer(model), variables)
    pixels = torch.from_numpy(image).permute(0, 3, 1, 2).contiguous()
    outputs = net(pixels.float() / (model.levels - 1), features).detach()
    if model.levels == 2:
        outputs = torch.cat([torch.zeros_like(outputs), outputs], -1)
    np.testing.assert_allclose(torch.log_softmax(outputs, -1).numpy(), log_pmf, atol=2e-5)

    actual = net.loss(pixels, features)
    actual.backward()
    assert actual.item() == pytest.approx(float(loss), rel=1e-5)
    wanted = peers_gated.load(peers_gated.peer(model), gradient)  # our gradient, laid out as the peer's weights
    for (name, parameter), (_, mine) in zip(net.named_parameters(), wanted.named_parameters()):
        mine = mine.detach().numpy()
        np.testing.assert_allclose(parameter.grad.numpy(), mine, atol=2e-5 * max(1.0, np.abs(mine).max()), err_msg=name)
