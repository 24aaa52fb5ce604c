"""A straightforward PyTorch peer of Deep Image Prior, for side-by-side timing and for checking the function.

Written as a careful PyTorch user would write it from 1711.10925 (the definitions are those of
`jaxgen.models.one_image`): reflection padding by `F.pad`, `BatchNorm2d` that always normalises by its own map,
`F.interpolate`, and a list of scales that are gone through down and up. `load` copies jaxgen's variables.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Block(nn.Module):
    """Convolution of a reflected map, batch normalisation, LeakyReLU."""

    def __init__(self, inputs: int, features: int, kernel: int, stride: int = 1):
        super().__init__()
        self.edge = kernel // 2
        self.conv = nn.Conv2d(inputs, features, kernel, stride, bias=False)
        self.norm = nn.BatchNorm2d(features, track_running_stats=False)

    def forward(self, x: Tensor) -> Tensor:
        """A map to a map."""
        x = F.pad(x, (self.edge,) * 4, mode="reflect") if self.edge else x
        return F.leaky_relu(self.norm(self.conv(x)), 0.2)


class Scale(nn.Module):
    """What an hourglass does at a scale, around the deeper ones."""

    def __init__(self, inputs: int, features: int, skip: int, deeper: int):
        super().__init__()
        self.down, self.deep = Block(inputs, features, 3, 2), Block(features, features, 3)
        self.skip = Block(inputs, skip, 1) if skip else None
        self.join = nn.BatchNorm2d(deeper + skip, track_running_stats=False)
        self.up, self.out = Block(deeper + skip, features, 3), Block(features, features, 1)


class Hourglass(nn.Module):
    """From z float[1,d,h,w] to an image, 0 … 1."""

    def __init__(self, channels: int, features: tuple[int, ...], skips: tuple[int, ...], depth: int, upsampling: str):
        super().__init__()
        inputs, deeper = (depth, *features[:-1]), (*features[1:], features[-1])
        self.scales = nn.ModuleList(map(Scale, inputs, features, skips, deeper))
        self.image = nn.Conv2d(features[0], channels, 1)
        self.upsampling = upsampling

    def forward(self, z: Tensor) -> Tensor:
        """The image."""
        return torch.sigmoid(self.image(self._scale(z, 0)))

    def _scale(self, x: Tensor, i: int) -> Tensor:
        scale = self.scales[i]
        deep = scale.deep(scale.down(x))
        deep = self._scale(deep, i + 1) if i + 1 < len(self.scales) else deep
        deep = F.interpolate(deep, scale_factor=2, mode=self.upsampling)[..., : x.shape[2], : x.shape[3]]
        joined = deep if scale.skip is None else torch.cat([scale.skip(x), deep], 1)
        return scale.out(scale.up(scale.join(joined)))


class DeepImagePrior(nn.Module):
    """The hourglass, its z, and what is followed of its outputs."""

    def __init__(self, model: Any):
        super().__init__()
        h, w, c = model.shape
        self.net = Hourglass(c, model.features, model.skips, model.depth, model.upsampling)
        self.jitter, self.decay = model.jitter, model.average
        self.register_buffer("z", 0.1 * torch.rand(1, model.depth, h, w))
        self.register_buffer("mean", torch.zeros(1, c, h, w))

    def loss(self, image: Tensor, noise: Tensor | None = None) -> Tensor:
        """The squared error of one output to the image float[1,c,h,w], 0 … 1; the output enters the average."""
        noise = torch.randn_like(self.z) if noise is None else noise
        x = self.net(self.z + self.jitter * noise)
        self.mean = self.decay * self.mean + (1 - self.decay) * x.detach()
        return F.mse_loss(x, image)


def peer(model: Any) -> DeepImagePrior:
    """The peer of a jaxgen `DeepImagePrior` of one image with reflected edges, with fresh weights."""
    return DeepImagePrior(model)


@torch.no_grad()
def load(net: DeepImagePrior, variables: Mapping[str, Any]) -> DeepImagePrior:
    """Copy the variables of a jaxgen `DeepImagePrior` of one image into its peer, and give it back."""
    params = variables["params"]["hourglass"]
    for i, scale in enumerate(net.net.scales):
        for name in ("down", "deep", "skip", "up", "out"):
            block = getattr(scale, name)
            if block is not None:
                _conv(block.conv, params[f"{name}_{i}"])
                _norm(block.norm, params[f"{name}_{i}_norm"])
        _norm(scale.join, params[f"join_{i}"])
    _conv(net.net.image, params["image"])
    net.net.image.bias.copy_(_tensor(params["image"]["bias"][0]))
    net.z.copy_(_tensor(variables["input"]["z"][0]).permute(2, 0, 1))
    return net


def _conv(conv: nn.Conv2d, layer: Mapping[str, Any]) -> None:
    conv.weight.copy_(_tensor(layer["kernel"][0]).permute(3, 2, 0, 1))


def _norm(norm: nn.BatchNorm2d, layer: Mapping[str, Any]) -> None:
    norm.weight.copy_(_tensor(layer["scale"][0]))
    norm.bias.copy_(_tensor(layer["shift"][0]))


def _tensor(array: Any) -> Tensor:
    return torch.from_numpy(np.array(array, np.float32))
