"""Conditional GAN on MNIST. 1411.1784: no figure that compares. Ours: not run yet.

Draws the digit that it is told. The critic is matching-aware (1605.05396): it also turns down real images with a label
that is not their own. DCGAN nets, Adam 2e-4 with β1 = .5. `jaxgen sample RUN --label 7` draws of the trained run.

Protocol: a GAN has no likelihood; the figures are the grids in the run's folder (a row for each class) and, with
`--judge` and the folder of a classifier's run, the percentage of 2000 samples that it takes for the class that they
were drawn under, which then decides the best checkpoint. What is drawn is the averaged generator.

    jaxgen train conditional_mnist
    jaxgen train conditional_mnist --judge runs/classifier_mnist
"""

from typing import Literal

import optax

from jaxgen import Classes, Recipe
from jaxgen.data.source import source
from jaxgen.models.gan.conditional import ConditionalGAN
from jaxgen.runs.feature_judge import ClassJudge


def recipe(
    data: str = "tfds:mnist",  # any source or path of images with labels
    classes: int = 10,
    size: int = 28,  # height and width of the images
    channels: int = 1,
    net: Literal["dense", "dcgan", "resnet"] = "dcgan",
    features: int = 16,  # width of the nets
    latent: int = 64,
    loss: Literal["non-saturating", "minimax"] = "non-saturating",
    batch: int = 64,
    steps: int = 10_000,
    lr: float = 2e-4,
    ema: float = 0.999,  # of the generator that is drawn from, 0: the last one
    judge: str = "",  # a classifier's run, which says what class samples are of
    evaluate_every: int = 1000,
) -> Recipe:
    return Recipe(
        data=source(data),
        model=ConditionalGAN(
            shape=(size, size, channels),
            levels=256,
            condition=Classes(classes),
            net=net,
            features=features,
            latent=latent,
            loss=loss,
        ),
        optimizer=optax.adam(lr, b1=0.5),
        batch=batch,
        steps=steps,
        ema=ema,
        judges=(ClassJudge(classifier=judge, num=2000),) if judge else (),
        evaluate_every=evaluate_every,
        save_every=evaluate_every,
    )


SMOKE = dict(net="dense", features=1, latent=4, batch=8, steps=2, evaluate_every=2)
EXPECTED: dict[str, tuple[float, float]] = {}
