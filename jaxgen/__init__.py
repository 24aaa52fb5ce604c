"""jaxgen: deep generative models of images in JAX.

Names are imported on first use, so that `import jaxgen` starts no backend and does not even import jax.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.2.0"

_HOMES = {
    "jaxgen.core.errors": ("UsageError",),
    "jaxgen.core.model": ("Aux", "Batch", "ImageModel", "Model", "Objective", "Variables"),
    "jaxgen.core.capabilities": (
        *("Autoregressive", "Completer", "Decoder", "Density", "Encoder", "ImportanceWeighted"),
        *("Incremental", "Latent", "Reconstructor", "Sampler", "Scored"),
    ),
    "jaxgen.core.conditions": ("Classes", "Map", "Vector"),
    "jaxgen.models": (
        *("AutoEncoder", "ConditionalGAN", "FewLabels", "GAN", "MEG"),
        *(
            "ConvClassifier",
            "DCGAN",
            "DeepImagePrior",
            "DiagonalBiLSTM",
            "GatedPixelCNN",
            "MultiScale",
            "OrderEnsemble",
            "PixelCNN",
        ),
        *("IWAE", "PixelCNNPlusPlus", "PixelSNAIL", "RowLSTM", "SemiSupervisedGAN", "VAE", "VIB", "VQPrior", "VQVAE"),
        *("Glow", "NICE", "RealNVP", "SkipThought"),
    ),
    "jaxgen.data": (
        *("Dataset", "Source", "Split", "binarized_mnist", "digits", "dynamic_binarization", "flipped", "folder"),
        *("idx", "labelled", "npz", "partly_labelled", "requantised", "source", "tfds"),
    ),
    "jaxgen.core.judges": ("Judge",),
    "jaxgen.engine.contract": ("contract",),
    "jaxgen.engine.recipe": ("Graft", "Recipe"),
    "jaxgen.engine.fit": ("fit",),
    "jaxgen.engine.optimizers": ("muon", "warmup_cosine"),
    "jaxgen.runs.grafts": ("model_of",),
    "jaxgen.runs.load": ("load",),
    "jaxgen.verification": ("verify",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = ["__version__", *sorted(_HOME)]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'jaxgen' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
