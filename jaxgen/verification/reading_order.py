"""The image plane: orders in which a context can be read, and a picture of what one sub-pixel sees."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Int

from jaxgen.core.orders import ORDERS, order_rank
from jaxgen.verification.sensitivity import Site, site


def reading_rank(context: Bool[np.ndarray, "h w c h2 w2 c2"]) -> Int[np.ndarray, "h w c"] | None:
    """The place of each sub-pixel in an order in which each sees only those before it, None where there is none.

    The first of `orders.ORDERS` that fits (raster order is their first), or else any order that does.
    """
    h, w, c = context.shape[:3]
    n = h * w * c
    sees = context.reshape(n, n)
    for order in ORDERS:
        rank = (order_rank((h, w), order)[:, :, None] * c + np.arange(c)).reshape(n)
        if not (sees & (rank[:, None] <= rank[None, :])).any():
            return rank.reshape(h, w, c)
    rank, waits, left = np.empty(n, int), sees.sum(axis=1), np.ones(n, bool)
    for place in range(n):
        ready = np.flatnonzero(left & (waits == 0))
        if not len(ready):
            return None
        rank[ready[0]], left[ready[0]] = place, False
        waits = waits - sees[:, ready[0]]
    return rank.reshape(h, w, c)


def circle(context: Bool[np.ndarray, "h w c h2 w2 c2"]) -> tuple[Site, Site]:
    """Where there is no such order: a sub-pixel, and one that it sees although that one depends on it."""
    shape = context.shape[:3]
    n = math.prod(shape)
    sees = context.reshape(n, n)
    for pairs in (sees & np.eye(n, dtype=bool), sees & sees.T):
        if pairs.any():
            i, j = np.argwhere(pairs)[0]
            return site(i, shape), site(j, shape)
    left = np.ones(n, bool)
    while (free := left & ~(sees & left).any(axis=1)).any():
        left &= ~free
    path = [int(np.flatnonzero(left)[0])]
    while path[-1] not in path[:-1]:
        path.append(int(np.flatnonzero(sees[path[-1]] & left)[0]))
    return site(path[-2], shape), site(path[-1], shape)
