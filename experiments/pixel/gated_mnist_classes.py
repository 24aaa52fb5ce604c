"""Gated PixelCNN on dynamically binarised MNIST with its labels. 1606.05328 has no figure for it. Ours: not run yet.

Conditional on the class, whose one-hot vector enters the gates of every layer (1606.05328, eq. 4). A tenth of the
labels is dropped in training, so that the same net is also the unconditional model (label −1). Depth, width and
training are those of `gated_mnist`. Samples show the classes in turn.

Protocol: exact test nats per image given its label, log p(x|y), which may lie up to log 10 = 2.30 nats below the
unconditional figure; pixels are drawn anew from their intensities at each use (dynamic binarisation), in evaluation
once per image. A seeded tenth of the 60k training images is held out for validation; 10k test images.

    jaxgen train gated_mnist_classes
    jaxgen train gated_mnist_classes --data tfds:fashion_mnist
"""

import optax

from jaxgen import Recipe
from jaxgen.core.conditions import Classes
from jaxgen.data.source import source
from jaxgen.data.transforms import dynamic_binarization
from jaxgen.engine.optimizers import warmup_cosine
from jaxgen.models.pixel.gated import GatedPixelCNN


def recipe(
    data: str = "tfds:mnist",  # any source or path of 28×28 grey images with labels
    classes: int = 10,
    label_dropout: float = 0.1,  # probability with which training hides a label; 0: a purely conditional model
    layers: int = 10,
    features: int = 128,
    kernel: int = 3,  # width of the layers' convolutions
    batch: int = 128,
    steps: int = 100_000,
    lr: float = 1e-3,
    warmup: int = 200,
    ema: float = 0.999,  # decay of the averaged parameters that are evaluated; 0: none
    evaluate_every: int = 2000,  # steps between evaluations on validation data, samples and checkpoints
    samples: int = 100,  # images drawn at each evaluation
) -> Recipe:
    schedule = warmup_cosine(lr, steps, warmup)
    return Recipe(
        data=dynamic_binarization(source(data)),
        model=GatedPixelCNN(
            shape=(28, 28, 1),
            levels=2,
            condition=Classes(classes, label_dropout),
            layers=layers,
            features=features,
            kernel=kernel,
        ),
        optimizer=optax.adam(schedule),
        batch=batch,
        steps=steps,
        ema=ema,
        evaluate_every=evaluate_every,
        save_every=evaluate_every,
        samples=samples,
    )


SMOKE = dict(layers=1, features=4, batch=8, steps=4, evaluate_every=2, samples=0)
EXPECTED = {"test/nats": (77.0, 82.0)}
