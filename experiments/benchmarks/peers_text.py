"""A straightforward PyTorch peer of Skip-Thought, for side-by-side timing and for checking the function.

Written as a careful PyTorch user would write it from 1506.06726 (the definitions are those of
`jaxgen.models.text.skipthought`): what the words bring to the gates by one linear layer for the whole batch, a loop
over the words, masks by `torch.where`, `cross_entropy` that ignores what fills up. `nn.GRU` has no condition, and
resets behind the product. `load` copies jaxgen's variables.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


class GRU(nn.Module):
    """The states behind each word, [b,t,d]."""

    def __init__(self, inputs: int, features: int, condition: int = 0):
        super().__init__()
        self.words = nn.Linear(inputs, 3 * features)
        self.condition = nn.Linear(condition, 3 * features, bias=False) if condition else None
        self.u_gates = nn.Linear(features, 2 * features, bias=False)
        self.u = nn.Linear(features, features, bias=False)

    def forward(self, x: Tensor, mask: Tensor, condition: Tensor | None = None) -> Tensor:
        """Of words [b,t,i], from a state of zeros."""
        gates = self.words(x)
        if self.condition is not None and condition is not None:
            gates = gates + self.condition(condition)[:, None]
        h, states, d = x.new_zeros(len(x), self.u.in_features), [], self.u.in_features
        for t in range(x.shape[1]):
            r, z = torch.sigmoid(gates[:, t, : 2 * d] + self.u_gates(h)).chunk(2, -1)
            g = torch.tanh(gates[:, t, 2 * d :] + self.u(r * h))
            h = torch.where(mask[:, t, None], (1 - z) * h + z * g, h)
            states.append(h)
        return torch.stack(states, 1)


class SkipThought(nn.Module):
    """Words int64[b,t] of a sentence and of its neighbours."""

    def __init__(self, words: int, embedding: int, features: int, decoder_features: int):
        super().__init__()
        self.embedding = nn.Embedding(words, embedding)
        self.encoder = GRU(embedding, features)
        self.before, self.after = (GRU(embedding, decoder_features, features) for _ in range(2))
        self.output = nn.Linear(decoder_features, words - 1)

    def loss(self, before: Tensor, words: Tensor, after: Tensor) -> Tensor:
        """Nats of both neighbours, averaged over sentences."""
        vector = self.encoder(self.embedding(words), words > 0)[:, -1]
        nats = []
        for decoder, told in ((self.before, before), (self.after, after)):
            x = F.pad(self.embedding(told[:, :-1]), (0, 0, 1, 0))
            logits = self.output(decoder(x, told > 0, vector))
            nats.append(F.cross_entropy(logits.flatten(0, 1), told.flatten() - 1, ignore_index=-1, reduction="sum"))
        return sum(nats, torch.zeros(())) / len(words)


def peer(model: Any) -> SkipThought:
    """The peer of a jaxgen `SkipThought` that reads one way, with fresh weights."""
    return SkipThought(model.words, model.embedding, model.features, model.decoder_features)


@torch.no_grad()
def load(net: SkipThought, variables: Mapping[str, Any]) -> SkipThought:
    """Copy the variables of a jaxgen `SkipThought` into its peer, and give it back."""
    params = variables["params"]
    net.embedding.weight.copy_(_tensor(params["encoder"]["embedding"]))
    _copy(net.output, params["output"])
    for gru, own in (
        (net.encoder, params["encoder"]["forwards"]),
        (net.before, params["before"]),
        (net.after, params["after"]),
    ):
        d = gru.u.in_features
        _copy(gru.words, own["words"])
        gru.u_gates.weight.copy_(_tensor(own["u"][:, : 2 * d].T))
        gru.u.weight.copy_(_tensor(own["u"][:, 2 * d :].T))
        if gru.condition is not None:
            gru.condition.weight.copy_(_tensor(own["condition"]["kernel"].T))
    return net


def _copy(layer: nn.Linear, dense: Mapping[str, Any]) -> None:
    layer.weight.copy_(_tensor(dense["kernel"].T))
    layer.bias.copy_(_tensor(dense["bias"]))


def _tensor(array: Any) -> Tensor:
    return torch.from_numpy(np.array(array, np.float32))
