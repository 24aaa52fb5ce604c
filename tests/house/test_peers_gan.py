"""The PyTorch peers of the DCGAN nets compute the same losses as our models, and the same gradients."""

from __future__ import annotations

import sys

import jax
import numpy as np
import pytest
from helpers import ROOT

from jaxgen.models.gan.base import GAN
from jaxgen.models.gan.dcgan import DCGAN

torch = pytest.importorskip("torch", reason="PyTorch is the extra benchmark")
sys.path.insert(0, str(ROOT / "experiments" / "benchmarks"))
import peers_gan  # noqa: E402

SIZE = {"shape": (10, 9, 2), "levels": 256, "latent": 3, "features": 2}
"""Sides of 10, 5 and 3, and of 9, 5 and 3: strides that pad both ends alike, and the end alone."""


@pytest.mark.parametrize(
    "model",
    [GAN(**SIZE, loss="wgan", penalty="two-sided", critic_steps=5), DCGAN(**SIZE)],
    ids=["wgan-gp", "dcgan"],
)
def test_the_same_losses_and_gradients_with_the_same_weights_and_noise(model):
    draw = np.random.default_rng(0)
    image = draw.integers(0, 256, (4, *model.shape)).astype(np.uint8)
    variables = model.init(jax.random.key(0), {"image": image})
    noisy = jax.tree.map(lambda a: a + draw.normal(0, 0.2, a.shape).astype(np.float32), variables["params"])
    variables = {**variables, "params": noisy}
    net = peers_gan.load(peers_gan.GAN(model), variables)
    x = torch.from_numpy(image.transpose(0, 3, 1, 2).astype(np.float32))
    key = jax.random.key(3)
    noise_key, penalty_key, _ = jax.random.split(key, 3)
    z = [torch.from_numpy(np.array(model.prior(k, 4))) for k in (noise_key, jax.random.split(key)[0])]
    alpha = torch.from_numpy(np.array(jax.random.uniform(penalty_key, (4, 1, 1, 1))))

    @jax.jit
    def both(variables):
        losses = (objective.loss for objective in model.objectives())
        return [jax.value_and_grad(lambda v: loss(v, {"image": image}, key)[0])(variables) for loss in losses]  # noqa: B023

    (critic_loss, critic), (generator_loss, generator) = both(variables)
    theirs = net.critic_loss(x, z[0], alpha)
    theirs.backward()
    np.testing.assert_allclose(theirs.item(), critic_loss, rtol=1e-5)
    for i, down in enumerate(net.critic.down):
        gradient = critic["params"]["critic"][f"Conv_{i}"]["kernel"]
        np.testing.assert_allclose(down.conv.weight.grad.numpy().transpose(2, 3, 1, 0), gradient, rtol=1e-3, atol=1e-5)
    theirs = net.generator_loss(4, z[1])
    theirs.backward()
    np.testing.assert_allclose(theirs.item(), generator_loss, rtol=1e-5)
    for i, up in enumerate(net.generator.up):
        gradient = np.asarray(generator["params"]["generator"][f"ConvTranspose_{i}"]["kernel"])[::-1, ::-1]
        np.testing.assert_allclose(up.conv.weight.grad.numpy().transpose(2, 3, 0, 1), gradient, rtol=1e-3, atol=1e-5)
