"""PixelCNNPlusPlus on CIFAR-10. 1701.05517: 2.92 bits/dim. Ours: not run yet.

3 resolutions of 5 gated ResNet layers, 160 features, mixtures of 10 logistics, dropout .5; Adam (.95, .9995), step
size 1e-3·.999995^step, parameters averaged with decay .9995, 8 times 12 images a step, all as in the authors' training
code. They train on all 50k images; the number of steps is ours.

Protocol: exact test bits/dim, 256 levels, 45k train and a seeded 5k validation of the 50k, the 10k test images.

    jaxgen train pixelcnnpp_cifar10
    jaxgen train pixelcnnpp_cifar10 --classes 10    (conditional on the class)
"""

from typing import Literal

import optax

from jaxgen import Recipe
from jaxgen.core.conditions import Classes
from jaxgen.data.source import source
from jaxgen.models.pixel.pixelcnnpp import PixelCNNPlusPlus


def recipe(
    data: str = "tfds:cifar10",  # any source or path of 32×32 RGB images
    classes: int = 0,  # of the labels that the model is conditional on; 0: unconditional
    layers: int = 5,  # at each resolution, on the way down
    features: int = 160,
    resolutions: int = 3,
    components: int = 10,  # logistics in each pixel's mixture
    dropout: float = 0.5,
    batch: int = 96,
    steps: int = 400_000,
    lr: float = 1e-3,
    decay: float = 0.999995,  # factor on the step size with every step
    ema: float = 0.9995,  # decay of the averaged parameters that are evaluated; 0: none
    dtype: Literal["float32", "bfloat16"] = "float32",  # of the layers' arithmetic; parameters stay float32
    evaluate_every: int = 5000,  # steps between evaluations on validation data, samples and checkpoints
    samples: int = 64,  # images drawn at each evaluation
) -> Recipe:
    return Recipe(
        data=source(data),
        model=PixelCNNPlusPlus(
            shape=(32, 32, 3),
            levels=256,
            condition=Classes(classes) if classes else None,
            layers=layers,
            features=features,
            resolutions=resolutions,
            components=components,
            dropout=dropout,
            dtype=dtype,
        ),
        optimizer=optax.adam(optax.exponential_decay(lr, 1, decay), b1=0.95, b2=0.9995),
        batch=batch,
        steps=steps,
        ema=ema,
        evaluate_every=evaluate_every,
        save_every=evaluate_every,
        samples=samples,
    )


SMOKE = dict(layers=1, features=3, resolutions=2, components=2, batch=8, steps=2, evaluate_every=2, samples=0)
EXPECTED = {"test/bits_per_dim": (2.88, 3.00)}
