"""jaxgen: deep generative models of images in JAX.

Names are imported on first use, so that `import jaxgen` starts no backend and does not even import jax.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "jaxgen.core": (
        *("Aux", "Autoregressive", "Batch", "Completer", "Density", "Encoder", "Model", "Objective", "Reconstructor"),
        *("Sampler", "Variables"),
    ),
    "jaxgen.errors": ("UsageError",),
    "jaxgen.train": ("Recipe",),
    "jaxgen.run": ("load",),
    "jaxgen.verification": ("verify",),
    "jaxgen.data": (
        *("Dataset", "Source", "Split", "binarized_mnist", "digits", "dynamic_binarization", "flipped"),
        *("requantised", "source"),
    ),
    "jaxgen.models": ("DCGAN", "DiagonalBiLSTM", "PixelCNN", "RowLSTM", "VAE"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = ["__version__", *sorted(_HOME)]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'jaxgen' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
