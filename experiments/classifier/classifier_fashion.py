"""ConvClassifier on Fashion-MNIST. No paper's net, no published figure. Ours: not run yet.

The classifier whose hidden layer gives the features of `FD[classifier_fashion]`: three blocks of a 3×3 convolution and
pooling, 32, 64 and 128 features, 128 hidden units, dropout of a half; Adam with a warm-up, then a cosine to zero.

Protocol: error in percent on the 10k test images. A seeded tenth of the 60k training images is held out for validation,
which decides the best checkpoint.

    jaxgen train classifier_fashion
    jaxgen evaluate RUN --metrics fd,kid,prdc --features runs/classifier_fashion
"""

import optax

from jaxgen import Recipe
from jaxgen.data.source import source
from jaxgen.engine.optimizers import warmup_cosine
from jaxgen.models.classifier import ConvClassifier


def recipe(
    data: str = "tfds:fashion_mnist",  # any source or path of 28×28 grey images with labels
    classes: int = 10,
    conv: tuple[int, ...] = (32, 64, 128),  # features of the convolutions, one number for each block
    hidden: int = 128,  # width of the layer whose values are the features
    dropout: float = 0.5,
    batch: int = 128,
    steps: int = 10_000,
    lr: float = 2e-3,
    warmup: int = 200,
    evaluate_every: int = 1000,
) -> Recipe:
    return Recipe(
        data=source(data),
        model=ConvClassifier(shape=(28, 28, 1), levels=256, classes=classes, conv=conv, hidden=hidden, dropout=dropout),
        optimizer=optax.adam(warmup_cosine(lr, steps, warmup)),
        batch=batch,
        steps=steps,
        evaluate_every=evaluate_every,
        save_every=evaluate_every,
    )


SMOKE = dict(conv=(2, 2, 2), hidden=4, batch=8, steps=4, warmup=1, evaluate_every=2)
EXPECTED: dict[str, tuple[float, float]] = {}
