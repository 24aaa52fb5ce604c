"""LAPGAN on MNIST or CIFAR-10. 1506.05751: no figure that compares. Ours: not run yet.

Levels of 7×7, 14×14 and 28×28, or by `--preset cifar10` of 8×8, 16×16 and 32×32, each a GAN of its own, trained side by
side by one command. Adam and widths are ours.

Protocol: a GAN has no likelihood; the figures are the grids of samples and of pyramids in the run's folder and, with
`--judge` and the folder of a classifier's run, FD of 5000 samples in its features, which then decides the best
checkpoint. What is drawn is the averaged generators.

    jaxgen train lapgan
    jaxgen train lapgan --judge runs/classifier_mnist
    jaxgen train lapgan --preset cifar10 --judge runs/classifier_cifar10
"""

from typing import Literal

import optax

from jaxgen import Recipe
from jaxgen.data.source import source
from jaxgen.models.gan.lapgan import LAPGAN
from jaxgen.runs.feature_judge import FeatureJudge


def recipe(
    data: str = "tfds:mnist",  # any source or path
    size: int = 28,  # height and width of the images
    channels: int = 1,
    halvings: int = 2,  # levels of the pyramid, less one
    features: int = 16,  # width of the nets
    latent: int = 64,  # numbers of z at the coarsest level
    loss: Literal[
        "minimax", "non-saturating", "least-squares", "hinge", "wgan", "gan-qp-l1", "gan-qp-l2", "relativistic"
    ] = "non-saturating",
    batch: int = 64,
    steps: int = 20_000,
    lr: float = 2e-4,
    beta1: float = 0.5,
    ema: float = 0.999,  # of the generators that are drawn from, 0: the last ones
    judge: str = "",  # a classifier's run, in whose features samples are compared with images
    evaluate_every: int = 1000,
) -> Recipe:
    return Recipe(
        data=source(data),
        model=LAPGAN(
            shape=(size, size, channels),
            levels=256,
            halvings=halvings,
            features=features,
            latent=latent,
            loss=loss,
        ),
        optimizer=optax.adam(lr, b1=beta1),
        batch=batch,
        steps=steps,
        ema=ema,
        judges=(FeatureJudge(features=judge, num=5000),) if judge else (),
        evaluate_every=evaluate_every,
        save_every=evaluate_every,
    )


SMOKE = dict(halvings=1, features=1, latent=4, batch=8, steps=2, evaluate_every=2)
PRESETS = {"cifar10": dict(data="tfds:cifar10", size=32, channels=3, features=64, latent=100, steps=50_000)}
EXPECTED: dict[str, tuple[float, float]] = {}
