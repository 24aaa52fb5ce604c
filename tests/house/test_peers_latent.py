"""The PyTorch peers of the dense VAE compute the same function as our model, and the same gradient."""

from __future__ import annotations

import sys

import jax
import numpy as np
import pytest
from helpers import ROOT

from jaxgen.maths.bounds import importance_bound
from jaxgen.models.latent.vae import VAE

torch = pytest.importorskip("torch", reason="PyTorch is the extra benchmark")
sys.path.insert(0, str(ROOT / "experiments" / "benchmarks"))
import peers_latent  # noqa: E402

MODEL = VAE(shape=(4, 3, 1), levels=2, latent=3, hidden=(6, 5))


def both():
    """Our variables, their peer, and images for each."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 2, (5, *MODEL.shape)).astype(np.uint8)
    shapes = jax.eval_shape(MODEL.init, jax.random.key(0), {"image": image})
    variables = jax.tree.map(lambda leaf: rng.normal(0, 0.5, leaf.shape).astype(np.float32), shapes)
    net = peers_latent.load(peers_latent.peer(MODEL), variables)
    return variables, image, net, torch.from_numpy(image.transpose(0, 3, 1, 2).astype(np.float32))


def test_the_same_bound_and_gradient_with_the_same_weights_and_noise():
    variables, image, net, x = both()
    (objective,) = MODEL.objectives()
    key = jax.random.key(3)
    loss, gradient = jax.value_and_grad(lambda v: objective.loss(v, {"image": image}, key)[0])(variables)
    noise = MODEL.noise(jax.random.split(key)[1], 5, 1)[:, 0]
    theirs = net.loss(x, torch.from_numpy(np.array(noise)))
    theirs.backward()
    np.testing.assert_allclose(theirs.item(), loss, rtol=1e-5)
    params = gradient["params"]
    pairs = [(net.encoder[0], params["encoder"]["layer_0"]), (net.logits, params["decoder"]["logits"])]
    for layer, ours in pairs:
        np.testing.assert_allclose(layer.weight.grad.numpy().T, ours["kernel"], atol=1e-5)
        np.testing.assert_allclose(layer.bias.grad.numpy(), ours["bias"], atol=1e-5)


def test_the_same_importance_bound_with_the_same_weights_and_noise():
    """In chunks that do not divide the samples."""
    variables, image, net, x = both()
    noise = MODEL.noise(jax.random.key(0), 5, 23)
    weights = MODEL.log_weights(variables, image, MODEL.posterior(variables, image), noise)
    theirs = net.iwae_bound(x, 23, 10, torch.from_numpy(np.array(noise)).transpose(0, 1))
    np.testing.assert_allclose(theirs.numpy(), importance_bound(weights), rtol=1e-5)
