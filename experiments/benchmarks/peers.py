"""Straightforward PyTorch peers of the three pixel models, for side-by-side timing and for checking the function.

Written as a careful PyTorch user would write them from 1601.06759 (the definitions are those of
`jaxgen.models.pixel.pixelrnn_net`): masked convolutions as `Conv2d` with a mask, input-to-state maps computed for the
whole image at once, recurrences as Python loops over rows or over the columns of a skewed map, both directions of the
Diagonal BiLSTM one after the other, eager mode. Nothing is tuned beyond that, and nothing is held back. `load` copies
jaxgen's variables.

PyTorch is the extra `benchmark`; only this folder and its tests import it. Maps are `float[b, features, h, w]`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


def colours(features: int, channels: int, gates: int = 1) -> np.ndarray:
    """Colour group of each feature, dealt out anew in each gate: `int[gates·features]`."""
    return np.tile(np.sort(np.arange(features) % channels), gates)


class MaskedConv2d(nn.Conv2d):
    """A convolution that sees the rows above, the pixels to the left and, of its own pixel, what its mask allows.

    `source` and `target` are the colour groups of the input and output features: mask A shows a feature the groups
    before its own, mask B its own as well.
    """

    def __init__(self, kind: Literal["A", "B"], source: np.ndarray, target: np.ndarray, size: tuple[int, int]):
        super().__init__(len(source), len(target), size, padding=(size[0] // 2, size[1] // 2))
        row, column = size[0] // 2, size[1] // 2
        mask = torch.zeros(len(target), len(source), *size)
        mask[:, :, :row] = 1
        mask[:, :, row, :column] = 1
        own = source[None] < target[:, None] if kind == "A" else source[None] <= target[:, None]
        mask[:, :, row, column] = torch.from_numpy(own)
        self.register_buffer("mask", mask)
        self.dense = bool(mask.all())

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight if self.dense else self.weight * self.mask
        return F.conv2d(x, weight, self.bias, padding=self.padding)


class ConvLayer(nn.Module):
    """PixelCNN: ReLU, 1×1 (2h → h), ReLU, 3×3 mask B, ReLU."""

    def __init__(self, features: int, channels: int):
        super().__init__()
        wide, narrow = colours(2 * features, channels), colours(features, channels)
        self.narrow = MaskedConv2d("B", wide, narrow, (1, 1))
        self.conv = MaskedConv2d("B", narrow, narrow, (3, 3))

    def forward(self, x: Tensor, right: Tensor) -> Tensor:
        return F.relu(self.conv(F.relu(self.narrow(F.relu(x)))))


def lstm_cell(gates: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """One LSTM update from gates [b,4h,n] in the order o, f, i, g: the new h and c, each [b,h,n]."""
    h = c.shape[1]
    o, f, i = torch.sigmoid(gates[:, : 3 * h]).chunk(3, 1)
    c = f * c + i * torch.tanh(gates[:, 3 * h :])
    return o * torch.tanh(c), c


class RowLayer(nn.Module):
    """Row LSTM: input-to-state 1×3 mask B, state-to-state 1×3 on the row before, a loop over rows."""

    def __init__(self, features: int, channels: int):
        super().__init__()
        wide, gates = colours(2 * features, channels), colours(features, channels, 4)
        self.input_to_state = MaskedConv2d("B", wide, gates, (1, 3))
        self.state_to_state = nn.Conv1d(features, 4 * features, 3, padding=1, bias=False)
        self.h0 = nn.Parameter(torch.zeros(features))
        self.c0 = nn.Parameter(torch.zeros(features))

    def forward(self, x: Tensor, right: Tensor) -> Tensor:
        b, _, _, w = x.shape
        h, c = self.h0[None, :, None].expand(b, -1, w), self.c0[None, :, None].expand(b, -1, w)
        rows = []
        for gates in self.input_to_state(x).unbind(2):
            h, c = lstm_cell(gates + self.state_to_state(h), c)
            rows.append(h)
        return torch.stack(rows, 2)


def skew(x: Tensor) -> Tensor:
    """[b,c,h,w] → [b,c,h,w+h−1], row r moved r columns to the right."""
    b, c, h, w = x.shape
    return F.pad(x, (0, h)).reshape(b, c, -1)[..., : h * (w + h - 1)].reshape(b, c, h, w + h - 1)


def unskew(x: Tensor) -> Tensor:
    """The inverse of `skew`."""
    b, c, h, t = x.shape
    return F.pad(x.reshape(b, c, -1), (0, h)).reshape(b, c, h, t + 1)[..., : t - h + 1]


class DiagonalLSTM(nn.Module):
    """One direction: input-to-state 1×1 mask B, skew, a loop over columns, unskew."""

    def __init__(self, features: int, channels: int):
        super().__init__()
        wide, gates = colours(2 * features, channels), colours(features, channels, 4)
        self.input_to_state = MaskedConv2d("B", wide, gates, (1, 1))
        self.state_to_state = nn.Conv1d(features, 4 * features, 2, bias=False)  # the row above, then the row itself
        self.h0 = nn.Parameter(torch.zeros(features))
        self.c0 = nn.Parameter(torch.zeros(features))

    def forward(self, x: Tensor) -> Tensor:
        b, _, rows, _ = x.shape
        h0, c0 = self.h0[None, :, None], self.c0[None, :, None]
        above = h0.expand(b, -1, 1)
        h, c = h0.expand(b, -1, rows), c0.expand(b, -1, rows)
        started = torch.ones(rows, rows, dtype=torch.bool).tril()  # row r starts at column r of the skewed map
        columns = []
        for k, gates in enumerate(skew(self.input_to_state(x)).unbind(3)):
            h, c = lstm_cell(gates + self.state_to_state(torch.cat([above, h], 2)), c)
            columns.append(h)
            if k < rows - 1:  # until it starts, a row stays at the learned initial state
                h, c = torch.where(started[k], h, h0), torch.where(started[k], c, c0)
        return unskew(torch.stack(columns, 3))


class DiagonalLayer(nn.Module):
    """Diagonal BiLSTM: left to right, plus right to left on the flipped image, moved down by one row."""

    def __init__(self, features: int, channels: int):
        super().__init__()
        self.left = DiagonalLSTM(features, channels)
        self.right = DiagonalLSTM(features, channels)

    def forward(self, x: Tensor, right: Tensor) -> Tensor:
        right = self.right(right.flip(3)).flip(3)
        return self.left(x) + F.pad(right, (0, 0, 1, 0))[:, :, :-1]


LAYERS: dict[str, type[nn.Module]] = {"PixelCNN": ConvLayer, "RowLSTM": RowLayer, "DiagonalBiLSTM": DiagonalLayer}


class PixelNet(nn.Module):
    """The peer of a jaxgen pixel model: image float[b,c,h,w] in 0 … 1 to outputs float[b,h,w,c,outputs].

    7×7 mask A to 2h features; layers with residual and skip connections; ReLU, 1×1, ReLU, 1×1. `mend` gives the
    first layer's right-to-left stream its own mask-B embedding (the Diagonal BiLSTM's `wiring="full"`).
    """

    def __init__(
        self, layer: str, layers: int, features: int, head: int, channels: int, outputs: int, mend: bool = False
    ):
        super().__init__()
        pixel, wide, narrow = np.arange(channels), colours(2 * features, channels), colours(features, channels)
        heads = colours(head, channels)
        self.embed = MaskedConv2d("A", pixel, wide, (7, 7))
        self.embed_right = MaskedConv2d("B", pixel, wide, (7, 7)) if mend else None
        self.layers = nn.ModuleList(LAYERS[layer](features, channels) for _ in range(layers))
        self.out = nn.ModuleList(MaskedConv2d("B", narrow, np.tile(wide, 2), (1, 1)) for _ in range(layers))
        self.head = MaskedConv2d("B", wide, heads, (1, 1))
        self.logits = MaskedConv2d("B", heads, np.repeat(pixel, outputs), (1, 1))
        self.channels = channels

    def forward(self, image: Tensor) -> Tensor:
        x = 2 * image - 1
        right = self.embed_right(x) if self.embed_right else None
        x = self.embed(x)
        right, skip = x if right is None else right, torch.zeros_like(x)
        for layer, out in zip(self.layers, self.out):
            residual, skipped = out(layer(x, right)).chunk(2, 1)
            x, skip = x + residual, skip + skipped
            right = x
        y = self.logits(F.relu(self.head(F.relu(x + skip))))
        b, _, h, w = y.shape
        return y.permute(0, 2, 3, 1).reshape(b, h, w, self.channels, -1)

    def loss(self, image: Tensor) -> Tensor:
        """Mean negative log-likelihood, nats per sub-pixel; image uint8[b,c,h,w], binary if there is one output."""
        levels = max(self.logits.out_channels // self.channels, 2)
        outputs = self(image.float() / (levels - 1))
        target = image.permute(0, 2, 3, 1)
        if outputs.shape[-1] == 1:
            return F.binary_cross_entropy_with_logits(outputs[..., 0], target.float())
        return F.cross_entropy(outputs.reshape(-1, levels), target.reshape(-1).long())


class LayerPeer(nn.Module):
    """The peer of `layer.LayerModel`: one recurrent layer on a shifted map, grey."""

    def __init__(self, kind: str, features: int):
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(2 * features, 1, 1))
        self.layer = LAYERS[kind](features, 1)

    def loss(self, image: Tensor) -> Tensor:
        """Mean square of the output; image uint8[b,2h,height,width]."""
        x = image.float() / 255 + self.shift
        return self.layer(x, x).square().mean()


def peer(model: Any) -> PixelNet:
    """The peer of a jaxgen `PixelCNN`, `RowLSTM` or `DiagonalBiLSTM` (no dropout, no marks), with fresh weights."""
    outputs = 1 if model.levels == 2 else model.levels
    mend = getattr(model, "wiring", "paper") == "full"
    name = type(model).__name__
    return PixelNet(name, model.layers, model.features, model.head_features, model.shape[2], outputs, mend)


@torch.no_grad()
def load(net: PixelNet, variables: Mapping[str, Any]) -> PixelNet:
    """Copy jaxgen's variables (arrays) into their peer, and give it back."""
    params = variables["params"]
    for name in ("embed", "embed_right", "head", "logits"):
        if name in params:
            _copy_conv(getattr(net, name), params[name])
    for i, (layer, out) in enumerate(zip(net.layers, net.out)):
        own = {key: _at(value, i) for key, value in params["layers"].items()}
        _copy_conv(out, own["out"])
        copy_layer(layer, own)
    return net


@torch.no_grad()
def copy_layer(layer: nn.Module, params: Mapping[str, Any]) -> None:
    """Copy one layer's parameters."""
    if isinstance(layer, ConvLayer):
        _copy_conv(layer.narrow, params["narrow"])
        _copy_conv(layer.conv, params["conv"])
    elif isinstance(layer, RowLayer):
        _copy_conv(layer.input_to_state, params["input_to_state"])
        _copy_state(layer, params["state_to_state"], params["h0"], params["c0"])
    else:
        for i, (side, name) in enumerate(((layer.left, "input_to_left"), (layer.right, "input_to_right"))):
            _copy_conv(side.input_to_state, params[name])
            _copy_state(side, params["state_to_state"][i], params["h0"][i], params["c0"][i])


def _at(tree: Any, i: int) -> Any:
    return {k: _at(v, i) for k, v in tree.items()} if isinstance(tree, Mapping) else np.asarray(tree)[i]


def _copy_conv(conv: MaskedConv2d, params: Mapping[str, Any]) -> None:
    """Kernels [taps, in, out]: jaxgen keeps the taps in raster order up to the centre, and none after it."""
    kernel = np.asarray(params["kernel"], np.float32)
    height, width = conv.kernel_size
    weight = np.zeros((height * width, *kernel.shape[1:]), np.float32)
    weight[: len(kernel)] = kernel
    weight = weight.reshape(height, width, *kernel.shape[1:]).transpose(3, 2, 0, 1)
    conv.weight.copy_(torch.from_numpy(weight.copy()))
    conv.bias.copy_(torch.from_numpy(np.array(params["bias"], np.float32)))


def _copy_state(layer: Any, weights: Any, h0: Any, c0: Any) -> None:
    """State-to-state maps [taps·h, 4h]."""
    conv = layer.state_to_state
    kernel = np.array(weights, np.float32).reshape(conv.kernel_size[0], conv.in_channels, conv.out_channels)
    conv.weight.copy_(torch.from_numpy(kernel.transpose(2, 1, 0).copy()))
    layer.h0.copy_(torch.from_numpy(np.array(h0, np.float32)))
    layer.c0.copy_(torch.from_numpy(np.array(c0, np.float32)))
