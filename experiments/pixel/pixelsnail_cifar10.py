"""PixelSNAIL on CIFAR-10. 1712.09763, table 1: 2.85 bits/dim. Ours: not run yet.

12 blocks of 4 gated ResNet layers and one attention, 256 features, keys of 16, mixtures of 10 logistics, dropout .5;
Adam (.95, .9995), step size 1e-3·.999998^step, parameters averaged with decay .9995, all as in the authors' training
code. They train on all 50k images, 8 per GPU on several GPUs; batches of 32 and the number of steps are ours.

Protocol: exact test bits/dim, 256 levels, 45k train and a seeded 5k validation of the 50k, the 10k test images.

    jaxgen train pixelsnail_cifar10
    jaxgen train pixelsnail_cifar10 --dtype bfloat16 --batch 64    (on a GPU or TPU)
"""

from typing import Literal

import optax

from jaxgen import Recipe
from jaxgen.data.source import source
from jaxgen.models.pixel.pixelsnail import PixelSNAIL


def recipe(
    data: str = "tfds:cifar10",  # any source or path of 32×32 RGB images
    blocks: int = 12,  # of gated ResNet layers and one attention each
    layers: int = 4,  # gated ResNet layers in a block
    features: int = 256,
    key_size: int = 16,  # features of the keys; values have half of `features`
    components: int = 10,  # logistics in each pixel's mixture
    dropout: float = 0.5,
    batch: int = 32,
    steps: int = 500_000,
    lr: float = 1e-3,
    decay: float = 0.999998,  # factor on the step size with every step
    ema: float = 0.9995,  # decay of the averaged parameters that are evaluated; 0: none
    dtype: Literal["float32", "bfloat16"] = "float32",  # of the layers' arithmetic; parameters stay float32
    evaluate_every: int = 5000,  # steps between evaluations on validation data, samples and checkpoints
    samples: int = 64,  # images drawn at each evaluation
) -> Recipe:
    return Recipe(
        data=source(data),
        model=PixelSNAIL(
            shape=(32, 32, 3),
            levels=256,
            blocks=blocks,
            layers=layers,
            features=features,
            key_size=key_size,
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


SMOKE = dict(blocks=1, layers=1, features=4, key_size=2, components=2, batch=8, steps=2, evaluate_every=2, samples=0)
EXPECTED = {"test/bits_per_dim": (2.80, 2.95)}
