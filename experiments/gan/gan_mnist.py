"""GAN on MNIST. 1406.2661: no figure that compares. Ours: not run yet.

With any loss, penalty and nets, on MNIST or other images. Losses and penalties are those of `jaxgen.maths.adversarial`
and `jaxgen.maths.penalties`. Presets are the settings of their papers on nets of ours: `wgan` (1701.07875, with Adam of
β1 = 0 in RMSprop's place), `wgan-gp` (1704.00028), `hinge-sn` (1802.05957), `r1` (1801.04406), `lsgan` (1611.04076),
`gan-qp` (1811.07296), `relativistic` (1807.00734), `pacgan` (1712.04086) and `minibatch` (1606.03498).

Protocol: a GAN has no likelihood; the figures are the grid of samples in the run's folder and, with `--judge` and the
folder of a classifier's run, FD of 5000 samples in its features, which then decides the best checkpoint. What is drawn
is the averaged generator.

    jaxgen train gan_mnist
    jaxgen train gan_mnist --preset wgan-gp --judge runs/classifier_mnist
"""

from typing import Literal

import optax

from jaxgen import Recipe
from jaxgen.core.errors import UsageError
from jaxgen.data.source import source
from jaxgen.models.gan.base import GAN
from jaxgen.runs.feature_judge import FeatureJudge


def recipe(
    data: str = "tfds:mnist",  # any source or path
    size: int = 28,  # height and width of the images
    channels: int = 1,
    net: Literal["dense", "dcgan", "resnet"] = "dcgan",
    features: int = 32,  # width of the nets
    latent: int = 64,
    loss: Literal[
        "minimax", "non-saturating", "least-squares", "hinge", "wgan", "gan-qp-l1", "gan-qp-l2", "relativistic"
    ] = "non-saturating",
    penalty: Literal["none", "two-sided", "one-sided", "r1"] = "none",
    penalty_weight: float = 10.0,
    clip_weights: float | None = None,  # the largest size of a critic's weight
    norm: Literal["batch", "layer", "none"] = "batch",  # of the generator
    critic_norm: Literal["batch", "layer", "none"] = "none",
    spectral: bool = False,  # spectral normalisation of the critic
    critic_steps: int = 1,  # of the critic for one of the generator
    pack: int = 1,  # images that the critic sees at once
    minibatch: int = 0,  # kernels of minibatch discrimination
    batch: int = 64,
    steps: int = 20_000,
    lr: float = 2e-4,
    beta1: float = 0.5,
    beta2: float = 0.999,
    ema: float = 0.999,  # of the generator that is drawn from, 0: the last one
    judge: str = "",  # a classifier's run, in whose features samples are compared with images
    evaluate_every: int = 1000,
) -> Recipe:
    if pack > 1 and batch % pack:
        raise UsageError(f"gan_mnist: pack={pack} must divide the batch, got batch={batch}: change either.")
    return Recipe(
        data=source(data),
        model=GAN(
            shape=(size, size, channels),
            levels=256,
            net=net,
            features=features,
            latent=latent,
            loss=loss,
            penalty=penalty,
            penalty_weight=penalty_weight,
            clip=clip_weights,
            norm=norm,
            critic_norm=critic_norm,
            spectral=spectral,
            critic_steps=critic_steps,
            pack=pack,
            minibatch=minibatch,
        ),
        optimizer=optax.adam(lr, b1=beta1, b2=beta2),
        batch=batch,
        steps=steps,
        ema=ema,
        judges=(FeatureJudge(features=judge, num=5000),) if judge else (),
        evaluate_every=evaluate_every,
        save_every=evaluate_every,
    )


SMOKE = dict(net="dense", features=1, latent=4, spectral=True, batch=8, steps=2, evaluate_every=2)
PRESETS = {
    "wgan": dict(loss="wgan", clip_weights=0.01, critic_steps=5, lr=5e-5, beta1=0.0),
    "wgan-gp": dict(loss="wgan", penalty="two-sided", critic_steps=5, lr=1e-4, beta2=0.9),
    "hinge-sn": dict(loss="hinge", spectral=True, beta1=0.0, beta2=0.9),
    "r1": dict(penalty="r1"),
    "lsgan": dict(loss="least-squares"),
    "gan-qp": dict(loss="gan-qp-l1", critic_steps=2),
    "relativistic": dict(loss="relativistic"),
    "pacgan": dict(pack=2),
    "minibatch": dict(minibatch=100),
}
EXPECTED: dict[str, tuple[float, float]] = {}
