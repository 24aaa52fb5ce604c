"""PixelCNNPlusPlus on MNIST with 256 grey levels. 1701.05517 has no figure for it. Ours: not run yet.

A small one: 2 resolutions of 2 gated ResNet layers, 32 features, mixtures of 5 logistics, dropout .1; Adam with a
warm-up and a cosine to zero, averaged parameters. The settings are ours; `pixelcnnpp_cifar10` has the paper's.

Protocol: exact test bits/dim, 256 levels, a seeded tenth of the 60k training images for validation, 10k test images.

    jaxgen train pixelcnnpp_mnist
    jaxgen train pixelcnnpp_mnist --data tfds:fashion_mnist
"""

import optax

from jaxgen import Recipe
from jaxgen.data.source import source
from jaxgen.engine.optimizers import warmup_cosine
from jaxgen.models.pixel.pixelcnnpp import PixelCNNPlusPlus


def recipe(
    data: str = "tfds:mnist",  # any source or path of 28×28 grey images
    layers: int = 2,  # at each resolution, on the way down
    features: int = 32,
    resolutions: int = 2,
    components: int = 5,  # logistics in each pixel's mixture
    dropout: float = 0.1,
    batch: int = 32,
    steps: int = 20_000,
    lr: float = 1e-3,
    warmup: int = 200,
    ema: float = 0.999,  # decay of the averaged parameters that are evaluated; 0: none
    evaluate_every: int = 2000,  # steps between evaluations on validation data, samples and checkpoints
    samples: int = 64,  # images drawn at each evaluation
) -> Recipe:
    schedule = warmup_cosine(lr, steps, warmup)
    return Recipe(
        data=source(data),
        model=PixelCNNPlusPlus(
            shape=(28, 28, 1),
            levels=256,
            layers=layers,
            features=features,
            resolutions=resolutions,
            components=components,
            dropout=dropout,
        ),
        optimizer=optax.adam(schedule),
        batch=batch,
        steps=steps,
        clip=1.0,
        ema=ema,
        evaluate_every=evaluate_every,
        save_every=evaluate_every,
        samples=samples,
    )


SMOKE = dict(layers=1, features=3, components=2, batch=8, steps=2, evaluate_every=2, samples=0)
EXPECTED = {"test/bits_per_dim": (0.5, 1.2)}
