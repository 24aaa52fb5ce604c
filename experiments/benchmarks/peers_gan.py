"""Straightforward PyTorch peers of the DCGAN nets, for side-by-side timing and for checking the function.

Written as a careful PyTorch user would write them from 1511.06434 and 1704.00028 (the definitions are those of
`jaxgen.models.gan`): strided 5×5 convolutions, batch norm where the model has it, the non-saturating or the WGAN loss,
the gradient penalty by `torch.autograd.grad` with `create_graph`, eager mode. Where a stride does not divide a side,
maps are padded or cropped at the end as SAME does it. `load` copies jaxgen's variables. Maps are
`float[b, features, h, w]`, images −1 … 1.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

KERNEL = 5


def sizes_of(shape: tuple[int, int, int]) -> list[tuple[int, int]]:
    """Heights and widths of the maps, smallest first: the image halved, rounding up, until no side exceeds 4."""
    sizes = [shape[:2]]
    while max(sizes[0]) > 4:
        sizes.insert(0, (-(-sizes[0][0] // 2), -(-sizes[0][1] // 2)))
    return sizes


def surplus(small: tuple[int, int], large: tuple[int, int]) -> list[int]:
    """Rows and columns of padding that a convolution of stride 2 from the large map to the small one needs."""
    return [max(2 * (s - 1) + KERNEL - n, 0) for s, n in zip(small, large)]


class Down(nn.Module):
    """A convolution of stride 2."""

    def __init__(self, inputs: int, outputs: int, large: tuple[int, int], small: tuple[int, int], bias: bool):
        super().__init__()
        rows, columns = surplus(small, large)
        self.pad = (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
        even = rows % 2 == 0 and columns % 2 == 0
        self.conv = nn.Conv2d(inputs, outputs, KERNEL, 2, (rows // 2, columns // 2) if even else 0, bias=bias)
        self.pad = (0, 0, 0, 0) if even else self.pad

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, self.pad) if any(self.pad) else x)


class Up(nn.Module):
    """A transposed convolution of stride 2, the other way round."""

    def __init__(self, inputs: int, outputs: int, small: tuple[int, int], large: tuple[int, int], bias: bool):
        super().__init__()
        self.size, padding = large, tuple(n // 2 for n in surplus(small, large))
        self.conv = nn.ConvTranspose2d(inputs, outputs, KERNEL, 2, padding, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)[:, :, : self.size[0], : self.size[1]]


class Generator(nn.Module):
    """From z to an image."""

    def __init__(self, shape: tuple[int, int, int], latent: int, features: int, batch_norm: bool):
        super().__init__()
        sizes = sizes_of(shape)
        widths = [*(features * 2**i for i in reversed(range(len(sizes) - 1))), shape[2]]
        self.first = (widths[0], *sizes[0])
        self.dense = nn.Linear(latent, widths[0] * sizes[0][0] * sizes[0][1], bias=not batch_norm)
        last = len(sizes) - 2
        self.up = nn.ModuleList(
            Up(widths[i], widths[i + 1], small, large, bias=not batch_norm or i == last)
            for i, (small, large) in enumerate(itertools.pairwise(sizes))
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(n) if batch_norm else nn.Identity() for n in widths[:-1])

    def forward(self, z: Tensor) -> Tensor:
        x = F.relu(self.norms[0](self.dense(z).view(len(z), *self.first)))
        for i, up in enumerate(self.up):
            x = up(x)
            x = F.relu(self.norms[i + 1](x)) if i < len(self.up) - 1 else torch.tanh(x)
        return x


class Critic(nn.Module):
    """From an image to a score, [b]."""

    def __init__(self, shape: tuple[int, int, int], features: int, batch_norm: bool):
        super().__init__()
        sizes = sizes_of(shape)[::-1]
        widths = [shape[2], *(features * 2**i for i in range(len(sizes) - 1))]
        self.down = nn.ModuleList(
            Down(widths[i], widths[i + 1], large, small, bias=not batch_norm or i == 0)
            for i, (large, small) in enumerate(itertools.pairwise(sizes))
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(n) if batch_norm else nn.Identity() for n in widths[2:])
        self.last = (widths[-1], *sizes[-1])
        self.dense = nn.Linear(widths[-1] * sizes[-1][0] * sizes[-1][1], 1)

    def forward(self, x: Tensor) -> Tensor:
        for i, down in enumerate(self.down):
            x = down(x)
            x = F.leaky_relu(self.norms[i - 1](x) if i else x, 0.2)
        return self.dense(x.flatten(1))[:, 0]


class GAN(nn.Module):
    """Both nets and their losses: "non-saturating", or "wgan" with the two-sided gradient penalty."""

    def __init__(self, model: Any):
        super().__init__()
        if model.net != "dcgan" or model.loss not in ("non-saturating", "wgan"):
            raise ValueError(f"there is a peer of dcgan nets and two losses, not of {model.net} and {model.loss}.")
        self.generator = Generator(model.shape, model.latent, model.features, model.norm == "batch")
        self.critic = Critic(model.shape, model.features, model.critic_norm == "batch")
        self.latent, self.loss, self.weight = model.latent, model.loss, model.penalty_weight
        self.penalised, self.uniform = model.penalty == "two-sided", not model.spherical

    def prior(self, num: int) -> Tensor:
        """z: N(0, I), or uniform on [−1, 1] as DCGAN has it."""
        return 2 * torch.rand(num, self.latent) - 1 if self.uniform else torch.randn(num, self.latent)

    def critic_loss(self, x: Tensor, z: Tensor | None = None, alpha: Tensor | None = None) -> Tensor:
        """Of real images 0 … 255; noise in place of draws where it is given."""
        x = x / 127.5 - 1
        with torch.no_grad():
            fake = self.generator(self.prior(len(x)) if z is None else z)
        real_score, fake_score = self.critic(x), self.critic(fake)
        if self.loss == "non-saturating":
            loss = (F.softplus(-real_score) + F.softplus(fake_score)).mean()
        else:
            loss = (fake_score - real_score).mean()
        return loss + self.weight * self.penalty(x, fake, alpha) if self.penalised else loss

    def penalty(self, real: Tensor, fake: Tensor, alpha: Tensor | None = None) -> Tensor:
        """The mean of (‖∇D(x̂)‖ − 1)²."""
        alpha = torch.rand(len(real), 1, 1, 1) if alpha is None else alpha
        between = (alpha * real + (1 - alpha) * fake).requires_grad_()
        (gradient,) = torch.autograd.grad(self.critic(between).sum(), between, create_graph=True)
        return ((gradient.flatten(1).norm(dim=1) - 1) ** 2).mean()

    def generator_loss(self, num: int, z: Tensor | None = None) -> Tensor:
        """Of so many draws."""
        score = self.critic(self.generator(self.prior(num) if z is None else z))
        return F.softplus(-score).mean() if self.loss == "non-saturating" else -score.mean()


@torch.no_grad()
def load(net: GAN, variables: Mapping[str, Any]) -> GAN:
    """Copy the parameters of a jaxgen `GAN` of dcgan nets into its peer, and give it back."""
    generator, critic = (variables["params"][name] for name in ("generator", "critic"))
    width, h, w = net.generator.first
    kernel = np.array(generator["Dense_0"]["kernel"], np.float32)
    _copy(net.generator.dense.weight, kernel.reshape(-1, h, w, width).transpose(3, 1, 2, 0).reshape(-1, len(kernel)))
    if "bias" in generator["Dense_0"]:
        bias = np.array(generator["Dense_0"]["bias"], np.float32)
        _copy(net.generator.dense.bias, bias.reshape(h, w, width).transpose(2, 0, 1).ravel())
    for i, up in enumerate(net.generator.up):
        theirs = generator[f"ConvTranspose_{i}"]
        # Ours slides its kernel over the map with gaps, PyTorch's spreads each pixel by it: one is the other turned.
        _copy(up.conv.weight, np.array(theirs["kernel"], np.float32)[::-1, ::-1].transpose(2, 3, 0, 1))
        if "bias" in theirs:
            _copy(up.conv.bias, theirs["bias"])
    for i, down in enumerate(net.critic.down):
        theirs = critic[f"Conv_{i}"]
        _copy(down.conv.weight, np.array(theirs["kernel"], np.float32).transpose(3, 2, 0, 1))
        if "bias" in theirs:
            _copy(down.conv.bias, theirs["bias"])
    for norms, source in ((net.generator.norms, generator), (net.critic.norms, critic)):
        for i, norm in enumerate(norms):
            if isinstance(norm, nn.BatchNorm2d):
                _copy(norm.weight, source[f"BatchNorm_{i}"]["scale"])
                _copy(norm.bias, source[f"BatchNorm_{i}"]["bias"])
    width, h, w = net.critic.last
    kernel = np.array(critic["Scores_0"]["Dense_0"]["kernel"], np.float32)
    _copy(net.critic.dense.weight, kernel.reshape(h, w, width).transpose(2, 0, 1).reshape(1, -1))
    _copy(net.critic.dense.bias, critic["Scores_0"]["Dense_0"]["bias"])
    return net


def _copy(target: Tensor, array: Any) -> None:
    target.copy_(torch.from_numpy(np.array(array, np.float32).copy()))
