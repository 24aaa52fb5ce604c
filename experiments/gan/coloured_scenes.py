"""GAN on scenes of coloured shapes. 1511.06434: no figure, a picture of bedrooms without windows. Ours: not run yet.

Images of which everything is known (`jaxgen.data.scenes`), so that what is done to the generator can be counted:
`jaxgen remove` takes the objects of a colour out of all that it draws, and says of how many. The nets are "dcgan", with
spectral norm in the critic and the hinge loss (1802.05957) by Adam of 2e-4 with β = (0, .9).

Protocol: a GAN has no likelihood; the figures are the grid of samples in the run's folder, drawn by the averaged
generator, and what `jaxgen remove` tells.

    jaxgen train coloured_scenes
    jaxgen remove RUN --colour 222 48 44
"""

import optax

from jaxgen import Recipe
from jaxgen.data.scenes import scenes
from jaxgen.models.gan.base import GAN


def recipe(
    size: int = 32,  # height and width of the images
    num: int = 10_000,  # scenes that are trained on
    objects: tuple[int, ...] = (1, 2),  # in a scene
    features: int = 32,  # width of the nets
    latent: int = 64,
    batch: int = 64,
    steps: int = 10_000,
    lr: float = 2e-4,
    ema: float = 0.998,  # of the generator that is drawn from, 0: the last one
    evaluate_every: int = 1000,
) -> Recipe:
    return Recipe(
        data=scenes(size, num, objects),
        model=GAN(shape=(size, size, 3), levels=256, features=features, latent=latent, loss="hinge", spectral=True),
        optimizer=optax.adam(lr, b1=0.0, b2=0.9),
        batch=batch,
        steps=steps,
        ema=ema,
        evaluate_every=evaluate_every,
        save_every=evaluate_every,
    )


SMOKE = dict(num=40, features=1, latent=4, batch=8, steps=2, evaluate_every=2)
EXPECTED: dict[str, tuple[float, float]] = {}
