"""Gated PixelCNN on dynamically binarised MNIST. Public PyTorch code: 81.50 nats. Ours: not run yet.

1606.05328 gives no figure for it; that one is pytorch-generative's. Ten layers of 128 features, 3×3 kernels, Adam at
1e-3 and batches of 128 as there; the number of steps, the cosine and the averaged parameters are ours.

Protocol: exact test nats per image; pixels are drawn anew from their intensities at each use (dynamic binarisation),
in evaluation once per image. Not comparable with the fixed binarisation of `pixelcnn_mnist`. A seeded tenth of the
60k training images is held out for validation; 10k test images.

    jaxgen train gated_mnist
    jaxgen train gated_mnist --layers 6 --features 32 --batch 16 --steps 10000    (two cores, half an hour)
"""

import optax

from jaxgen import Recipe
from jaxgen.data.source import source
from jaxgen.data.transforms import dynamic_binarization
from jaxgen.engine.optimizers import warmup_cosine
from jaxgen.models.pixel.gated import GatedPixelCNN


def recipe(
    data: str = "tfds:mnist",  # any source or path of 28×28 grey images
    layers: int = 10,
    features: int = 128,
    kernel: int = 3,  # width of the layers' convolutions
    batch: int = 128,
    steps: int = 100_000,
    lr: float = 1e-3,
    warmup: int = 200,
    ema: float = 0.999,  # decay of the averaged parameters that are evaluated; 0: none
    evaluate_every: int = 2000,  # steps between evaluations on validation data, samples and checkpoints
    samples: int = 64,  # images drawn at each evaluation
) -> Recipe:
    schedule = warmup_cosine(lr, steps, warmup)
    return Recipe(
        data=dynamic_binarization(source(data)),
        model=GatedPixelCNN(shape=(28, 28, 1), levels=2, layers=layers, features=features, kernel=kernel),
        optimizer=optax.adam(schedule),
        batch=batch,
        steps=steps,
        ema=ema,
        evaluate_every=evaluate_every,
        save_every=evaluate_every,
        samples=samples,
    )


SMOKE = dict(layers=1, features=4, batch=8, steps=4, evaluate_every=2, samples=0)
EXPECTED = {"test/nats": (79.5, 82.5)}
