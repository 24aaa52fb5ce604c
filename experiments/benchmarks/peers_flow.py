"""Straightforward PyTorch peers of RealNVP and Glow, for side-by-side timing and for checking the function.

Written as a careful PyTorch user would write them from 1605.08803 and 1807.03039 (the definitions are those of
`jaxgen.models.flow`): layers in a row that give their output and what they add to the log-density, weight normalisation
by `torch.nn.utils.parametrizations`, squeezes by `pixel_unshuffle`, eager mode. What leaves at a scale adds its density
there and then. `load` copies jaxgen's variables. Maps are `float[b, features, h, w]`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

MARGIN = 0.05
"""Of the logit: α."""
LEAST_SCALE = 1 / 16
"""Of Glow's couplings: ε."""

Moved = tuple[Tensor, Tensor]
"""What a layer gives: its output, and nats of each example, or the same of all."""


def gaussian(z: Tensor) -> Tensor:
    """log N(z) of each example, nats."""
    return -0.5 * (z**2 + math.log(2 * math.pi)).flatten(1).sum(1)


def conv(inputs: int, outputs: int, size: int = 3, deviation: float | None = None) -> nn.Conv2d:
    """A convolution that keeps the sides, with weights of that standard deviation at first, or PyTorch's."""
    conv = nn.Conv2d(inputs, outputs, size, padding=size // 2)
    if deviation is not None:
        nn.init.normal_(conv.weight, std=deviation)
        nn.init.zeros_(conv.bias)
    return conv


class ResBlock(nn.Module):
    """Two convolutions with ReLU before each, and a skip."""

    def __init__(self, features: int):
        super().__init__()
        self.first = weight_norm(conv(features, features))
        self.second = weight_norm(conv(features, features))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.relu(self.first(F.relu(x))))


class ResNet(nn.Module):
    """The net of RealNVP's couplings."""

    def __init__(self, inputs: int, outputs: int, blocks: int, features: int):
        super().__init__()
        self.first = weight_norm(conv(inputs, features))
        self.blocks = nn.ModuleList(ResBlock(features) for _ in range(blocks))
        self.outputs = weight_norm(conv(features, outputs, 1, deviation=0.01))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for block in self.blocks:
            x = block(x)
        return self.outputs(F.relu(x))


class CouplingNet(nn.Module):
    """The net of Glow's couplings."""

    def __init__(self, inputs: int, outputs: int, features: int):
        super().__init__()
        self.first = weight_norm(conv(inputs, features))
        self.second = weight_norm(conv(features, features, 1))
        self.outputs = conv(features, outputs, deviation=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return self.outputs(F.relu(self.second(F.relu(self.first(x)))))


class SplitNet(nn.Module):
    """The net of Glow's learned prior of what leaves."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.outputs = conv(inputs, outputs, deviation=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return self.outputs(x)


class Logit(nn.Module):
    """logit(α + (1 − 2α)·x)."""

    def forward(self, x: Tensor) -> Moved:
        p = MARGIN + (1 - 2 * MARGIN) * x
        log_p, log_q = torch.log(p), torch.log1p(-p)
        return log_p - log_q, (math.log(1 - 2 * MARGIN) - log_p - log_q).flatten(1).sum(1)


class ActNorm(nn.Module):
    """exp(s)·(x + b)."""

    def __init__(self, channels: int):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))
        self.log_scale = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> Moved:
        return (x + self.bias) * torch.exp(self.log_scale), x.shape[2] * x.shape[3] * self.log_scale.sum()


class TriangularConv(nn.Module):
    """x·Q·L·U at each pixel; Q is a fixed rotation."""

    def __init__(self, channels: int):
        super().__init__()
        self.lower = nn.Parameter(torch.zeros(channels, channels))
        self.upper = nn.Parameter(torch.zeros(channels, channels))
        self.log_diagonal = nn.Parameter(torch.zeros(channels))
        self.register_buffer("rotation", torch.linalg.qr(torch.randn(channels, channels))[0])
        self.register_buffer("eye", torch.eye(channels))

    def forward(self, x: Tensor) -> Moved:
        lower = self.lower.tril(-1) + self.eye
        upper = self.upper.triu(1) + torch.diag(torch.exp(self.log_diagonal))
        kernel = self.rotation @ lower @ upper
        return F.conv2d(x, kernel.T[:, :, None, None]), x.shape[2] * x.shape[3] * self.log_diagonal.sum()


class Board(nn.Module):
    """RealNVP's coupling by a checkerboard: every other pixel passes, the first among them unless `flipped`."""

    def __init__(self, net: nn.Module, channels: int, height: int, width: int, flipped: bool):
        super().__init__()
        self.net, self.scale = net, nn.Parameter(torch.ones(channels, 1, 1))
        odd = (torch.arange(height)[:, None] + torch.arange(width)) % 2
        self.register_buffer("moves", (odd != flipped).float())

    def forward(self, x: Tensor) -> Moved:
        shift, raw = self.net(x * (1 - self.moves)).chunk(2, 1)
        log_scale = self.moves * self.scale * torch.tanh(raw)
        return x * torch.exp(log_scale) + self.moves * shift, log_scale.flatten(1).sum(1)


class Halves(nn.Module):
    """RealNVP's coupling by halves of the channels: the first passes, or the second if `flipped`."""

    def __init__(self, net: nn.Module, channels: int, flipped: bool = False):
        super().__init__()
        self.net, self.flipped = net, flipped
        self.scale = nn.Parameter(torch.ones(channels // 2, 1, 1))

    def forward(self, x: Tensor) -> Moved:
        first, second = x.chunk(2, 1)
        passing, moved = (second, first) if self.flipped else (first, second)
        shift, raw = self.net(passing).chunk(2, 1)
        log_scale = self.scale * torch.tanh(raw)
        moved = moved * torch.exp(log_scale) + shift
        return torch.cat([moved, passing] if self.flipped else [passing, moved], 1), log_scale.flatten(1).sum(1)


class Affine(nn.Module):
    """Glow's coupling: the first half of the channels passes."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Moved:
        passing, moved = x.chunk(2, 1)
        shift, raw = self.net(passing).chunk(2, 1)
        scale = LEAST_SCALE + (1 - LEAST_SCALE) * torch.sigmoid(raw + 2)
        return torch.cat([passing, moved * scale + shift], 1), scale.log().flatten(1).sum(1)


class Squeeze(nn.Module):
    """Squares of 2×2 pixels as pixels."""

    def forward(self, x: Tensor) -> Moved:
        return F.pixel_unshuffle(x, 2), x.new_zeros(())


class FactorOut(nn.Module):
    """The second half of the channels leaves, and adds its density."""

    def forward(self, x: Tensor) -> Moved:
        staying, leaving = x.chunk(2, 1)
        return staying, gaussian(leaving)


class LearnedPrior(nn.Module):
    """(x − m)·exp(−s)."""

    def __init__(self, channels: int):
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(channels, 1, 1))
        self.log_scale = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> Moved:
        return (x - self.mean) * torch.exp(-self.log_scale), -x.shape[2] * x.shape[3] * self.log_scale.sum()


class Flow(nn.Module):
    """Layers in a row, and a standard normal prior of what comes out."""

    def __init__(self, layers: list[nn.Module], levels: int):
        super().__init__()
        self.layers, self.levels = nn.ModuleList(layers), levels

    def log_prob(self, image: Tensor, noise: Tensor | None = None) -> Tensor:
        """Nats [b] of the levels float[b,c,h,w], by one draw of uniform noise: a lower bound in expectation."""
        x = (image + (torch.rand_like(image) if noise is None else noise)) / self.levels
        total = -x[0].numel() * math.log(self.levels)
        for layer in self.layers:
            x, nats = layer(x)
            total = total + nats
        return total + gaussian(x)

    def loss(self, image: Tensor, noise: Tensor | None = None) -> Tensor:
        """Minus the bound, averaged over the batch, nats per sub-pixel."""
        return -self.log_prob(image, noise).mean() / image[0].numel()


def real_nvp(shape: tuple[int, int, int], scales: int, blocks: int, features: int) -> list[nn.Module]:
    """The layers of RealNVP, for images of that shape, (h, w, c)."""
    h, w, c = shape
    layers: list[nn.Module] = [Logit()]
    for scale in range(scales):
        last, wide = scale == scales - 1, features * 2**scale
        for i in range(4 if last else 3):
            layers += [Board(ResNet(c, 2 * c, blocks, wide), c, h, w, i % 2 == 1), ActNorm(c)]
        if last:
            break
        h, w, c = h // 2, w // 2, 4 * c
        layers.append(Squeeze())
        for i in range(3):
            layers += [Halves(ResNet(c // 2, c, blocks, wide), c, i % 2 == 1), ActNorm(c)]
        layers.append(FactorOut())
        c //= 2
    return layers


def glow(shape: tuple[int, int, int], scales: int, steps: int, features: int) -> list[nn.Module]:
    """The layers of Glow, for images of that shape, (h, w, c)."""
    c = shape[2]
    layers: list[nn.Module] = []
    for scale in range(scales):
        c *= 4
        layers.append(Squeeze())
        for _ in range(steps):
            layers += [ActNorm(c), TriangularConv(c), Affine(CouplingNet(c // 2, c, features))]
        if scale < scales - 1:
            layers += [Halves(SplitNet(c // 2, c), c), FactorOut()]
            c //= 2
    return [*layers, LearnedPrior(c)]


def peer(model: Any) -> Flow:
    """The peer of a jaxgen `RealNVP`, or of a `Glow` of affine couplings and factored convolutions; of uniform noise
    and no condition. With fresh weights."""
    if type(model).__name__ == "RealNVP":
        return Flow(real_nvp(model.shape, model.scales, model.blocks, model.features), model.levels)
    return Flow(glow(model.shape, model.scales, model.steps, model.features), model.levels)


@torch.no_grad()
def load(net: Flow, variables: Mapping[str, Any]) -> Flow:
    """Copy jaxgen's variables (arrays) into their peer, and give it back. The rotations of 1×1 convolutions, which are
    no parameters, follow from their numbers."""
    from jaxgen.nn.bijectors.linear import rotation

    mixing = [layer for layer in net.layers if isinstance(layer, TriangularConv)]
    for number, layer in enumerate(mixing):
        layer.rotation.copy_(torch.from_numpy(rotation(len(layer.rotation), number)))
    learned = [layer for layer in net.layers if any(True for _ in layer.parameters())]
    for layer, params in zip(learned, _in_a_row(variables["params"]["flow"]), strict=True):
        for name, value in params.items():
            if name == "net":
                for part, own in value.items():
                    _copy(layer.net.get_submodule(re.sub(r"block_(\d+)_", r"blocks.\1.", part)), own)
            else:
                target = getattr(layer, name)
                target.copy_(torch.from_numpy(np.array(value, np.float32)).reshape(target.shape))
    return net


def _in_a_row(chain: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The parameters of each layer in turn: those of a chain are named "7_Coupling", and the next scale is within."""
    for name in sorted(chain, key=lambda name: int(name.split("_")[0])):
        if name.endswith("FactorOut"):
            yield from _in_a_row(chain[name])
        else:
            yield chain[name]


def _copy(layer: nn.Conv2d, params: Mapping[str, Any]) -> None:
    """Kernels [h, w, in, out]: of some jaxgen keeps a direction and a norm for each feature."""
    kernel = np.array(params["direction" if "direction" in params else "kernel"], np.float32).transpose(3, 2, 0, 1)
    if "direction" in params:
        normed = layer.parametrizations.weight
        normed.original0.copy_(torch.from_numpy(np.array(params["scale"], np.float32)).reshape(-1, 1, 1, 1))
        normed.original1.copy_(torch.from_numpy(kernel.copy()))
    else:
        layer.weight.copy_(torch.from_numpy(kernel.copy()))
    layer.bias.copy_(torch.from_numpy(np.array(params["bias"], np.float32)))
