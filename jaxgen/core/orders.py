"""Orders in which an image can be read pixel by pixel: the eight raster-like ones, by two directions.

"right-down" is raster order: along each row to the right, rows from top to bottom. "down-left" reads each column
downwards, columns from right to left; and so on. A model is written for raster order; in another order it reads a
turned image, so that `to_raster` and `from_raster` are all that it needs to know.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Array, Bool, Int

from jaxgen.core.errors import UsageError, nearest

Order = Literal["right-down", "left-down", "right-up", "left-up", "down-right", "down-left", "up-right", "up-left"]
ORDERS: tuple[str, ...] = get_args(Order)


def check_order(order: str) -> None:
    """Raises `UsageError` unless `order` is one of `ORDERS`."""
    if order not in ORDERS:
        raise UsageError(f"order must be one of {', '.join(ORDERS)}, got {order!r}.{nearest(str(order), ORDERS)}")


def _moves(order: str) -> tuple[bool, bool, bool]:
    """(transposed, slow axis flipped, fast axis flipped) of the image that raster order reads instead."""
    fast, slow = order.split("-")
    return fast in ("down", "up"), slow in ("left", "up"), fast in ("left", "up")


def _flip(x: Any, slow: bool, fast: bool) -> Any:
    return x[:, :: -1 if slow else 1, :: -1 if fast else 1]


def to_raster(x: Array | np.ndarray, order: str) -> Any:
    """Maps [b,h,w,…] turned so that raster order reads them in `order`; [b,w,h,…] where it runs along columns.

    >>> to_raster(np.array([[[1, 2], [3, 4]]]), "down-left").tolist()
    [[[2, 4], [1, 3]]]
    """
    transposed, slow, fast = _moves(order)
    return _flip(x.swapaxes(1, 2) if transposed else x, slow, fast)


def from_raster(x: Array | np.ndarray, order: str) -> Any:
    """The inverse of `to_raster`."""
    transposed, slow, fast = _moves(order)
    x = _flip(x, slow, fast)
    return x.swapaxes(1, 2) if transposed else x


def order_rank(shape: tuple[int, ...], order: str) -> Int[np.ndarray, "h w"]:
    """The place of each pixel in an order, 0 for the first; `shape` begins with (h, w).

    >>> order_rank((2, 3), "left-up").tolist()
    [[5, 4, 3], [2, 1, 0]]
    """
    h, w = shape[:2]
    turned = to_raster(np.arange(h * w).reshape(1, h, w), order)
    rank = np.empty(h * w, int)
    rank[turned.reshape(-1)] = np.arange(h * w)
    return rank.reshape(h, w)


def is_prefix(given: Bool[np.ndarray, "h w"], order: str) -> bool:
    """Whether the given pixels are the first ones of an order.

    >>> upper = np.array([[True, True], [False, False]])
    >>> is_prefix(upper, "right-down"), is_prefix(upper, "right-up")
    (True, False)
    """
    given = np.asarray(given, bool)
    rank = order_rank(given.shape, order)
    return bool((rank[given] < given.sum()).all())
