"""DCGAN on MNIST or a folder of images. 1511.06434: no figure on MNIST. Ours: not run yet.

z of 100 uniform numbers, Adam 2e-4 with β1 = .5, batches of 128, weights from N(0, .02²), as in the paper.

Protocol: a GAN has no likelihood; the figure is the grid of samples in the run's folder.

    jaxgen train dcgan
    jaxgen train dcgan --data folder:DIR,crop=square,resize=64 --size 64 --channels 3 --features 128
"""

from typing import Literal

import optax

from jaxgen import Recipe
from jaxgen.data.source import source
from jaxgen.models.gan.dcgan import DCGAN


def recipe(
    data: str = "tfds:mnist",  # any source or path
    size: int = 28,  # height and width of the images
    channels: int = 1,
    features: int = 64,
    latent: int = 100,
    loss: Literal[
        "minimax", "non-saturating", "least-squares", "hinge", "wgan", "gan-qp-l1", "gan-qp-l2", "relativistic"
    ] = "non-saturating",
    spectral: bool = False,  # spectral normalisation of the critic, beside its batch norm
    batch: int = 128,
    steps: int = 20_000,
    lr: float = 2e-4,
    evaluate_every: int = 1000,
) -> Recipe:
    return Recipe(
        data=source(data),
        model=DCGAN(
            shape=(size, size, channels), levels=256, features=features, latent=latent, loss=loss, spectral=spectral
        ),
        optimizer=optax.adam(lr, b1=0.5),
        batch=batch,
        steps=steps,
        evaluate_every=evaluate_every,
        save_every=evaluate_every,
    )


SMOKE = dict(features=2, latent=4, batch=8, steps=2, evaluate_every=2)
EXPECTED = {}
