"""MEG on MNIST. 1901.08508: no figure of MNIST. Ours: not run yet.

A maximum entropy generator and its energy, λ = 0.1, by Adam of 1e-4 with β = (.5, .9), five steps of the energy for one
of the generator and of the statistics network. The nets are ours (`jaxgen.models.gan.nets`); batch, steps and averaged
parameters too.

Protocol: an energy is no likelihood; the figures are the grid of samples in the run's folder and, with `--judge` and
the folder of a classifier's run, FD of 5000 samples in its features, which then decides the best checkpoint. What is
drawn is the averaged generator. `--chain` draws by the energy as well.

    jaxgen train meg_mnist
    jaxgen train meg_mnist --judge runs/classifier_mnist
    jaxgen sample RUN --chain mala --chain-steps 100
"""

from typing import Literal

import optax

from jaxgen import Recipe
from jaxgen.data.source import source
from jaxgen.models.energy.meg import MEG
from jaxgen.runs.feature_judge import FeatureJudge


def recipe(
    data: str = "tfds:mnist",  # any source or path
    size: int = 28,  # height and width of the images
    channels: int = 1,
    net: Literal["dense", "dcgan", "resnet"] = "dcgan",
    features: int = 32,  # width of the nets
    latent: int = 128,
    norm: Literal["batch", "layer", "none"] = "batch",  # of the generator
    energy_steps: int = 5,  # of the energy for one of the generator
    score_weight: float = 0.1,  # of the penalty on the energy's gradient at real images
    entropy_weight: float = 1.0,
    batch: int = 64,
    steps: int = 50_000,
    lr: float = 1e-4,
    beta1: float = 0.5,
    beta2: float = 0.9,
    ema: float = 0.999,  # of all that is drawn and scored with, 0: the last one
    judge: str = "",  # a classifier's run, in whose features samples are compared with images
    evaluate_every: int = 2500,
) -> Recipe:
    return Recipe(
        data=source(data),
        model=MEG(
            shape=(size, size, channels),
            levels=256,
            net=net,
            features=features,
            latent=latent,
            norm=norm,
            energy_steps=energy_steps,
            score_weight=score_weight,
            entropy_weight=entropy_weight,
        ),
        optimizer=optax.adam(lr, b1=beta1, b2=beta2),
        batch=batch,
        steps=steps,
        ema=ema,
        judges=(FeatureJudge(features=judge, num=5000),) if judge else (),
        evaluate_every=evaluate_every,
        save_every=evaluate_every,
    )


SMOKE = dict(net="dense", features=1, latent=4, energy_steps=1, batch=8, steps=2, evaluate_every=2)
EXPECTED: dict[str, tuple[float, float]] = {}
