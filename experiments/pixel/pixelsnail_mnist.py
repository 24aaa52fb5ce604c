"""PixelSNAIL on dynamically binarised MNIST. Public PyTorch code (pytorch-generative): 78.61 nats. Ours: not run yet.

8 blocks of 2 gated ResNet layers, 64 features, keys of 4, Adam with step size 1e-3·.999977^step and batches of 128, as
there. Its blocks differ from the paper's (1712.09763): plain convolutions, and a residual connection around each block.
Deviation: parameters are averaged with decay .9995, and the number of steps is ours (theirs is 457 epochs).

Protocol: pixels are drawn anew from their intensities, in training and in the test (dynamic binarisation); exact test
nats per image of one such draw.

    jaxgen train pixelsnail_mnist
    jaxgen train pixelsnail_mnist --static --data binarized_mnist    (Larochelle's fixed binarisation)
"""

import optax

from jaxgen import Recipe
from jaxgen.data.source import source
from jaxgen.data.transforms import dynamic_binarization
from jaxgen.models.pixel.pixelsnail import PixelSNAIL


def recipe(
    data: str = "tfds:mnist",  # any source or path of 28×28 grey images
    static: bool = False,  # the data are binary already
    blocks: int = 8,  # of gated ResNet layers and one attention each
    layers: int = 2,  # gated ResNet layers in a block
    features: int = 64,
    key_size: int = 4,  # features of the keys; values have half of `features`
    dropout: float = 0.0,
    batch: int = 128,
    steps: int = 200_000,
    lr: float = 1e-3,
    decay: float = 0.999977,  # factor on the step size with every step
    ema: float = 0.9995,  # decay of the averaged parameters that are evaluated; 0: none
    evaluate_every: int = 2000,  # steps between evaluations on validation data, samples and checkpoints
    samples: int = 64,  # images drawn at each evaluation
) -> Recipe:
    images = source(data)
    return Recipe(
        data=images if static else dynamic_binarization(images),
        model=PixelSNAIL(
            shape=(28, 28, 1),
            levels=2,
            blocks=blocks,
            layers=layers,
            features=features,
            key_size=key_size,
            dropout=dropout,
        ),
        optimizer=optax.adam(optax.exponential_decay(lr, 1, decay)),
        batch=batch,
        steps=steps,
        ema=ema,
        evaluate_every=evaluate_every,
        save_every=evaluate_every,
        samples=samples,
    )


SMOKE = dict(blocks=1, layers=1, features=4, key_size=2, batch=8, steps=4, evaluate_every=2, samples=0)
EXPECTED = {"test/nats": (77.5, 80.0)}
