"""ConvClassifier on CIFAR-10. No paper's net, no published figure. Ours: not run yet.

The classifier whose hidden layer gives the features of `FD[classifier_cifar10]`: three blocks of two 3×3 convolutions
and pooling, 64, 128 and 256 features, 256 hidden units, dropout of a half; training images flipped left to right at
random, Adam with a warm-up, then a cosine to zero. Meant for an accelerator.

Protocol: error in percent on the 10k test images. A seeded tenth of the 50k training images is held out for validation,
which decides the best checkpoint.

    jaxgen train classifier_cifar10
    jaxgen evaluate RUN --metrics fd,kid,prdc --features runs/classifier_cifar10
"""

import optax

from jaxgen import Recipe
from jaxgen.data.source import source
from jaxgen.data.transforms import flipped
from jaxgen.engine.optimizers import warmup_cosine
from jaxgen.models.classifier import ConvClassifier


def recipe(
    data: str = "tfds:cifar10",  # any source or path of 32×32 colour images with labels
    classes: int = 10,
    conv: tuple[int, ...] = (64, 128, 256),  # features of the convolutions, one number for each block
    layers: int = 2,  # convolutions of a block
    hidden: int = 256,  # width of the layer whose values are the features
    dropout: float = 0.5,
    batch: int = 128,
    steps: int = 20_000,
    lr: float = 1e-3,
    warmup: int = 500,
    evaluate_every: int = 1000,
) -> Recipe:
    return Recipe(
        data=flipped(source(data)),
        model=ConvClassifier(
            shape=(32, 32, 3), levels=256, classes=classes, conv=conv, layers=layers, hidden=hidden, dropout=dropout
        ),
        optimizer=optax.adam(warmup_cosine(lr, steps, warmup)),
        batch=batch,
        steps=steps,
        evaluate_every=evaluate_every,
        save_every=evaluate_every,
    )


SMOKE = dict(conv=(2, 2, 2), hidden=4, batch=8, steps=4, warmup=1, evaluate_every=2)
EXPECTED: dict[str, tuple[float, float]] = {}
