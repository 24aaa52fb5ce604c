"""GAN on avatars. 1511.06434: no figure, sums of codes judged by eye. Ours: not run yet.

Drawn faces whose attributes are known and independent of each other (glasses, hats), as arrays of an .npz that the user
brings: images of 16×16 as `train` and `test`, each attribute as `train_NAME` and `test_NAME`, 0 where it is absent.
Classifiers of the attributes (`attribute`) say what sums of codes add and what they keep. The nets are "dcgan", with
spectral norm in the critic and the hinge loss (1802.05957) by Adam of 2e-4 with β = (0, .9).

Protocol: a GAN has no likelihood; the figures are the grid of samples in the run's folder, drawn by the averaged
generator, and what `jaxgen arithmetic` tells: of codes of faces without glasses, to which the difference of the mean
codes of faces with and without them is added, how many images a classifier takes for faces with glasses, and how many
keep what other classifiers say of them.

    jaxgen train avatars --data npz:FILE
    jaxgen train attribute --data npz:FILE --attribute glasses --run runs/glasses
    jaxgen train attribute --data npz:FILE --attribute hat --run runs/hat
    jaxgen arithmetic RUN class:1 class:0 class:0 --classifier runs/glasses --expects 1 --keeps runs/hat --num 50
"""

import optax

from jaxgen import Recipe
from jaxgen.data.source import source
from jaxgen.models.gan.base import GAN


def recipe(
    data: str = "npz:avatars.npz",  # any source or path
    size: int = 16,  # height and width of the images
    channels: int = 3,
    features: int = 48,  # width of the nets
    latent: int = 64,
    batch: int = 64,
    steps: int = 10_000,
    lr: float = 2e-4,
    ema: float = 0.998,  # of the generator that is drawn from, 0: the last one
    evaluate_every: int = 1000,
) -> Recipe:
    return Recipe(
        data=source(data),
        model=GAN(
            shape=(size, size, channels), levels=256, features=features, latent=latent, loss="hinge", spectral=True
        ),
        optimizer=optax.adam(lr, b1=0.0, b2=0.9),
        batch=batch,
        steps=steps,
        ema=ema,
        evaluate_every=evaluate_every,
        save_every=evaluate_every,
    )


SMOKE = dict(features=1, latent=4, batch=8, steps=2, evaluate_every=2)
EXPECTED: dict[str, tuple[float, float]] = {}
