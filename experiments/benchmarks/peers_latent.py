"""Straightforward PyTorch peers of the dense VAE, for side-by-side timing and for checking the function.

Written as a careful PyTorch user would write them from 1312.6114 and 1509.00519 (the definitions are those of
`jaxgen.models.latent.vae`): linear layers with tanh, Bernoulli pixels by `binary_cross_entropy_with_logits`, the KL
term in closed form, L_k by chunks of samples whose log-weights are kept. `load` copies jaxgen's variables.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


class VAE(nn.Module):
    """Images float[b,…] of zeros and ones, in one row each."""

    def __init__(self, pixels: int = 784, latent: int = 50, hidden: tuple[int, ...] = (200, 200)):
        super().__init__()
        down, up = (pixels, *hidden), (latent, *hidden[::-1])
        self.encoder = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(down))
        self.mean, self.log_var = nn.Linear(down[-1], latent), nn.Linear(down[-1], latent)
        self.decoder = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(up))
        self.logits = nn.Linear(up[-1], pixels)

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance."""
        for layer in self.encoder:
            x = torch.tanh(layer(x))
        return self.mean(x), self.log_var(x)

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """log p(x|z), [b]."""
        for layer in self.decoder:
            z = torch.tanh(layer(z))
        return -F.binary_cross_entropy_with_logits(self.logits(z), x, reduction="none").sum(-1)

    def loss(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """Minus the ELBO, averaged over the batch."""
        x = x.flatten(1)
        mean, log_var = self.posterior(x)
        noise = torch.randn_like(mean) if noise is None else noise
        z = mean + torch.exp(0.5 * log_var) * noise
        kl = -0.5 * (1 + log_var - mean**2 - log_var.exp()).sum(-1)
        return (kl - self.log_likelihood(x, z)).mean()

    @torch.no_grad()
    def iwae_bound(self, x: Tensor, k: int, chunk: int = 50, noise: Tensor | None = None) -> Tensor:
        """L_k of each image, `chunk` samples at a time; `noise` [k,b,d] in place of draws."""
        x = x.flatten(1)
        mean, log_var = self.posterior(x)
        weights = []
        for n in [chunk] * (k // chunk) + [k % chunk] * (k % chunk > 0):
            start = sum(map(len, weights))
            eps = torch.randn(n, *mean.shape) if noise is None else noise[start : start + n]
            z = mean + torch.exp(0.5 * log_var) * eps
            rows = x.expand(n, *x.shape).reshape(-1, x.shape[-1])
            log_likelihood = self.log_likelihood(rows, z.reshape(-1, z.shape[-1])).reshape(n, -1)
            log_prior = -0.5 * (z**2 + math.log(2 * math.pi)).sum(-1)
            log_posterior = -0.5 * (eps**2 + log_var + math.log(2 * math.pi)).sum(-1)
            weights.append(log_likelihood + log_prior - log_posterior)
        return torch.logsumexp(torch.cat(weights), 0) - math.log(k)


def peer(model: Any) -> VAE:
    """The peer of a dense jaxgen `VAE` of binary images, with fresh weights."""
    return VAE(math.prod(model.shape), model.latent, model.hidden)


@torch.no_grad()
def load(net: VAE, variables: Mapping[str, Any]) -> VAE:
    """Copy the variables of a dense jaxgen `VAE` into its peer, and give it back."""
    encoder, decoder = (variables["params"][name] for name in ("encoder", "decoder"))
    for i, layer in enumerate(net.encoder):
        _copy(layer, encoder[f"layer_{i}"])
    for i, layer in enumerate(net.decoder):
        _copy(layer, decoder[f"layer_{i}"])
    _copy(net.mean, encoder["mean"])
    _copy(net.log_var, encoder["log_var"])
    _copy(net.logits, decoder["logits"])
    return net


def _copy(layer: nn.Linear, dense: Mapping[str, Any]) -> None:
    layer.weight.copy_(torch.from_numpy(np.array(dense["kernel"], np.float32).T.copy()))
    layer.bias.copy_(torch.from_numpy(np.array(dense["bias"], np.float32)))
