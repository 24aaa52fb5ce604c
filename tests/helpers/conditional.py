"""Conditional models, and data for them."""

import numpy as np

from jaxgen.core.conditions import Map, Vector
from jaxgen.data.arrays import npz
from jaxgen.models.pixel.gated import GatedPixelCNN
from jaxgen.models.pixel.pixelrnn import PixelCNN

SHAPE = (3, 4, 1)


MODELS = {
    "vector": GatedPixelCNN(shape=SHAPE, levels=2, layers=1, features=6, head_features=6, condition=Vector(3)),
    "map": PixelCNN(shape=SHAPE, levels=2, layers=1, features=6, head_features=6, condition=Map(1)),
}


SIZES = {"train": 64, "valid": 20, "test": 16}


def pairs(kind, count, rng):
    """Images that their condition says, all but one pixel in ten: bright by the sign of a vector's first number, or
    where a map is positive."""
    condition = rng.normal(size=(count, 3) if kind == "vector" else (count, *SHAPE))
    bright = condition[:, :1, None, None] > 0 if kind == "vector" else condition > 0
    return (bright ^ (rng.random((count, *SHAPE)) < 0.1)).astype(np.uint8), condition


def write(path, kind, conditions=True):
    arrays, rng = {}, np.random.default_rng(0)
    for name, count in SIZES.items():
        arrays[name], condition = pairs(kind, count, rng)
        arrays |= {f"{name}_condition": condition} if conditions else {}
    np.savez(path, **arrays)
    return npz(path).load()
