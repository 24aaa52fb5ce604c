"""A straightforward PyTorch peer of Gated PixelCNN, for side-by-side timing and for checking the function.

Written as a careful PyTorch user would write it from 1606.05328 (the definitions are those of
`jaxgen.models.pixel.gated_net`): unmasked convolutions with padding above for the vertical stack, masked ones for the
horizontal stack, a loop over layers, eager mode. `load` copies jaxgen's variables. Maps are `float[b, features, h, w]`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from peers import MaskedConv2d, colours
from torch import Tensor, nn


def gate(x: Tensor) -> Tensor:
    """tanh of the first half of the features times σ of the second."""
    a, b = x.chunk(2, 1)
    return torch.tanh(a) * torch.sigmoid(b)


class DownConv2d(nn.Conv2d):
    """A convolution whose kernel ends in the pixel's own row, or in the row above it (`above`)."""

    def __init__(self, source: int, target: int, size: int, above: bool = False):
        rows = size // 2 if above else size // 2 + 1
        super().__init__(source, target, (rows, size))
        self.reach, self.above = size // 2, above

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(F.pad(x, (self.reach, self.reach, self.reach, 0)))
        return y[:, :, :-1] if self.above else y


class GatedLayer(nn.Module):
    """Both stacks of a layer; the condition [b,k,h|1,w|1] enters both gates."""

    def __init__(self, features: int, channels: int, kernel: int, condition: int):
        super().__init__()
        narrow, gates = colours(features, channels), colours(features, channels, 2)
        self.down = DownConv2d(features, 2 * features, kernel)
        self.right = MaskedConv2d("B", narrow, gates, (1, kernel))
        self.link = nn.Conv2d(2 * features, 2 * features, 1, bias=False)
        self.condition = nn.Conv2d(condition, 4 * features, 1, bias=False) if condition else None
        self.out = MaskedConv2d("B", narrow, np.tile(narrow, 2), (1, 1))

    def forward(self, v: Tensor, x: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        down = self.down(v)
        right = self.right(x) + self.link(down)
        if self.condition is not None:
            to_down, to_right = self.condition(condition).chunk(2, 1)
            down, right = down + to_down, right + to_right
        residual, skip = self.out(gate(right)).chunk(2, 1)
        return gate(down), x + residual, skip


class GatedNet(nn.Module):
    """Image float[b,c,h,w] in 0 … 1 to outputs float[b,h,w,c,outputs]; `condition` its number of features, or 0."""

    def __init__(
        self,
        layers: int,
        features: int,
        kernel: int,
        head: int,
        channels: int,
        outputs: int,
        condition: int = 0,
    ):
        super().__init__()
        pixel, narrow, heads = np.arange(channels), colours(features, channels), colours(head, channels)
        self.embed_down = DownConv2d(channels, features, 7, above=True)
        self.embed_right = MaskedConv2d("A", pixel, narrow, (1, 7))
        self.layers = nn.ModuleList(GatedLayer(features, channels, kernel, condition) for _ in range(layers))
        self.head = MaskedConv2d("B", narrow, heads, (1, 1))
        self.logits = MaskedConv2d("B", heads, np.repeat(pixel, outputs), (1, 1))
        self.channels = channels

    def forward(self, image: Tensor, condition: Tensor | None = None) -> Tensor:
        pixels = 2 * image - 1
        v, x = self.embed_down(pixels), self.embed_right(pixels)
        total = torch.zeros_like(x)
        for layer in self.layers:
            v, x, skip = layer(v, x, condition)
            total = total + skip
        y = self.logits(F.relu(self.head(F.relu(x + total))))
        b, _, h, w = y.shape
        return y.permute(0, 2, 3, 1).reshape(b, h, w, self.channels, -1)

    def loss(self, image: Tensor, condition: Tensor | None = None) -> Tensor:
        """Mean negative log-likelihood, nats per sub-pixel; image uint8[b,c,h,w], binary if there is one output."""
        levels = max(self.logits.out_channels // self.channels, 2)
        outputs = self(image.float() / (levels - 1), condition)
        target = image.permute(0, 2, 3, 1)
        if outputs.shape[-1] == 1:
            return F.binary_cross_entropy_with_logits(outputs[..., 0], target.float())
        return F.cross_entropy(outputs.reshape(-1, levels), target.reshape(-1).long())


def peer(model: Any) -> GatedNet:
    """The peer of a jaxgen `GatedPixelCNN` (no dropout, no marks), with fresh weights."""
    outputs, kind = 1 if model.levels == 2 else model.levels, model.condition
    size = 0 if kind is None else next(getattr(kind, n) for n in ("count", "size", "channels") if hasattr(kind, n))
    return GatedNet(model.layers, model.features, model.kernel, model.head_features, model.shape[2], outputs, size)


@torch.no_grad()
def load(net: GatedNet, variables: Mapping[str, Any]) -> GatedNet:
    """Copy jaxgen's variables (arrays) into their peer, and give it back."""
    params = variables["params"]
    for name in ("embed_down", "embed_right", "head", "logits"):
        _copy(getattr(net, name), params[name]["kernel"], params[name]["bias"])
    stacked = params["layers"]
    for i, layer in enumerate(net.layers):
        for name in ("down", "right", "out"):
            _copy(getattr(layer, name), stacked[name]["kernel"][i], stacked[name]["bias"][i])
        _copy(layer.link, stacked["link"][i][None])
        if layer.condition is not None:
            _copy(layer.condition, stacked["condition"][i][None])
    return net


def _copy(conv: nn.Conv2d, kernel: Any, bias: Any = None) -> None:
    """Kernels [taps, in, out], taps row by row; of a masked kernel jaxgen keeps those up to the centre."""
    height, width = conv.kernel_size
    weight = np.zeros((height * width, conv.in_channels, conv.out_channels), np.float32)
    weight[: len(kernel)] = kernel
    weight = weight.reshape(height, width, *weight.shape[1:]).transpose(3, 2, 0, 1)
    conv.weight.copy_(torch.from_numpy(weight.copy()))
    if bias is not None:
        conv.bias.copy_(torch.from_numpy(np.array(bias, np.float32)))
