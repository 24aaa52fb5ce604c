"""Straightforward PyTorch peers of the three pixel models, for side-by-side timing and for checking the function.

Written as a careful PyTorch user would write them (1601.06759; the definitions are those of `jaxgen.models`): masked
convolutions as `Conv2d` with a mask buffer, input-to-state maps computed for the whole image at once, recurrences as
Python loops over rows or over the columns of a skewed map, `channels_last` for the convolutional net. Nothing is
tuned beyond that, and nothing is held back. PyTorch is the extra `benchmark`; only this folder and its tests import it.

Maps are `float[b, channels, h, w]`; logits leave as `float[b, h, w, c, levels]`, as in jaxgen.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


def groups(width: int, channels: int, gates: int = 1) -> np.ndarray:
    """The colour group of each of `width` features, dealt out anew within each gate: `int[width]`."""
    one = np.concatenate(
        [np.full(len(p), k) for k, p in enumerate(np.array_split(np.arange(width // gates), channels))]
    )
    return np.tile(one, gates)


class MaskedConv2d(nn.Conv2d):
    """A convolution that sees rows above, pixels to the left, and of its own pixel the groups that its mask allows.

    Mask A excludes a feature's own colour group, mask B includes it. `source` and `target` are the groups of the
    input and output features.
    """

    def __init__(self, kind: str, source: np.ndarray, target: np.ndarray, size: tuple[int, int]):
        super().__init__(len(source), len(target), size, padding=(size[0] // 2, size[1] // 2))
        mask = np.zeros((len(target), len(source), *size), np.float32)
        row, column = size[0] // 2, size[1] // 2
        mask[:, :, :row] = 1
        mask[:, :, row, :column] = 1
        same = source[None] < target[:, None] if kind == "A" else source[None] <= target[:, None]
        mask[:, :, row, column] = same
        self.register_buffer("mask", torch.from_numpy(mask))
        self.dense = bool(mask.all())

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight if self.dense else self.weight * self.mask
        return F.conv2d(x, weight, self.bias, padding=self.padding)


class Head(nn.Module):
    """ReLU, 1×1, ReLU, 1×1 and the logits of `levels` values per sub-pixel; every 1×1 is mask B."""

    def __init__(self, source: np.ndarray, channels: int, levels: int, head: int):
        super().__init__()
        hidden, out = groups(head, channels), np.repeat(np.arange(channels), levels)
        self.first = MaskedConv2d("B", source, hidden, (1, 1))
        self.second = MaskedConv2d("B", hidden, hidden, (1, 1))
        self.logits = MaskedConv2d("B", hidden, out, (1, 1))
        self.channels, self.levels = channels, levels

    def forward(self, x: Tensor) -> Tensor:
        x = self.logits(F.relu(self.second(F.relu(self.first(F.relu(x))))))
        b, _, h, w = x.shape
        return x.permute(0, 2, 3, 1).reshape(b, h, w, self.channels, self.levels)


class Block(nn.Module):
    """PixelCNN's residual block: ReLU → 1×1 (2h→h) → ReLU → 3×3 mask B → ReLU → 1×1 (h→2h), plus the input."""

    def __init__(self, features: int, channels: int):
        super().__init__()
        wide, narrow = groups(2 * features, channels), groups(features, channels)
        self.enter = MaskedConv2d("B", wide, narrow, (1, 1))
        self.conv = MaskedConv2d("B", narrow, narrow, (3, 3))
        self.leave = MaskedConv2d("B", narrow, wide, (1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.leave(F.relu(self.conv(F.relu(self.enter(F.relu(x))))))


class RowLSTMLayer(nn.Module):
    """One Row LSTM layer, 2h → h: 1×3 mask-B input-to-state, 1×3 state-to-state on the row above, a loop over rows."""

    def __init__(self, source: np.ndarray, features: int, channels: int):
        super().__init__()
        gates = groups(4 * features, channels, gates=4)
        self.input_to_state = MaskedConv2d("B", source, gates, (1, 3))
        self.state_to_state = nn.Conv1d(features, 4 * features, 3, padding=1, bias=False)
        self.h0 = nn.Parameter(torch.zeros(features))
        self.c0 = nn.Parameter(torch.zeros(features))

    def forward(self, x: Tensor) -> Tensor:
        b, _, _, w = x.shape
        h = self.h0[None, :, None].expand(b, -1, w)
        c = self.c0[None, :, None].expand(b, -1, w)
        out = []
        for gates in self.input_to_state(x).unbind(2):
            h, c = lstm_cell(gates + self.state_to_state(h), c)
            out.append(h)
        return torch.stack(out, 2)


def lstm_cell(gates: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """One LSTM update from gates [b, 4h, n] in the order o, f, i, g; gives the new h and c, each [b, h, n]."""
    h = c.shape[1]
    o, f, i = torch.sigmoid(gates[:, : 3 * h]).chunk(3, 1)
    c = f * c + i * torch.tanh(gates[:, 3 * h :])
    return o * torch.tanh(c), c


def skew(x: Tensor) -> Tensor:
    """[b,c,H,W] → [b,c,H,W+H−1], row r moved r columns to the right."""
    b, c, h, w = x.shape
    return F.pad(x, (0, h)).reshape(b, c, -1)[..., : h * (w + h - 1)].reshape(b, c, h, w + h - 1)


def unskew(x: Tensor, w: int) -> Tensor:
    """The inverse of `skew`: [b,c,H,W+H−1] → [b,c,H,W]."""
    b, c, h, _ = x.shape
    return F.pad(x.reshape(b, c, -1), (0, h)).reshape(b, c, h, w + h)[..., :w]


class DiagonalLSTM(nn.Module):
    """One direction: skew, input-to-state 1×1 mask B for the whole map, a loop over columns, unskew. 2h → h."""

    def __init__(self, source: np.ndarray, features: int, channels: int):
        super().__init__()
        gates = groups(4 * features, channels, gates=4)
        self.input_to_state = MaskedConv2d("B", source, gates, (1, 1))
        self.state_to_state = nn.Conv1d(features, 4 * features, 2, bias=False)  # taps: the row above, the row itself
        self.h0 = nn.Parameter(torch.zeros(features))
        self.c0 = nn.Parameter(torch.zeros(features))

    def forward(self, x: Tensor) -> Tensor:
        b, _, rows, w = x.shape
        h0, c0 = self.h0[None, :, None], self.c0[None, :, None]
        above = h0.expand(b, -1, 1)
        h, c = h0.expand(b, -1, rows), c0.expand(b, -1, rows)
        started = torch.ones(rows + w - 1, rows, dtype=torch.bool).tril()  # row r starts at column r of the skewed map
        out = []
        for k, gates in enumerate(skew(self.input_to_state(x)).unbind(3)):
            h, c = lstm_cell(gates + self.state_to_state(torch.cat([above, h], 2)), c)
            out.append(h)
            if k < rows - 1:  # a row that has not started yet stays at the learned initial state
                h, c = torch.where(started[k], h, h0), torch.where(started[k], c, c0)
        return unskew(torch.stack(out, 3), w)


class DiagonalBiLSTMLayer(nn.Module):
    """Left-to-right plus right-to-left moved down one row. `other` feeds the second direction where it is given."""

    def __init__(self, source: np.ndarray, features: int, channels: int):
        super().__init__()
        self.left = DiagonalLSTM(source, features, channels)
        self.right = DiagonalLSTM(source, features, channels)

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        right = self.right((x if other is None else other).flip(3)).flip(3)
        return self.left(x) + F.pad(right, (0, 0, 1, 0))[:, :, :-1]
