"""PixelCNN on static binarised MNIST. 1601.06759: 81.30 nats. Ours: not run yet.

RMSProp and batches of 16 as in the paper; 15 residual blocks of 64 features; step size and number of steps are ours.

Protocol: exact test nats per image, Larochelle's fixed binarisation, 50k train, 10k validation, 10k test.

    jaxgen train pixelcnn_mnist
    jaxgen train pixelcnn_mnist --data PATH    (a folder of the .amat files, or a packed .npz)
"""

import optax

from jaxgen import Recipe
from jaxgen.data import source
from jaxgen.models import PixelCNN


def recipe(
    data: str = "binarized_mnist",  # as `jaxgen data prepare` leaves it, or any other source or path
    layers: int = 15,
    features: int = 64,
    batch: int = 16,
    steps: int = 200_000,
    lr: float = 1e-3,
    ema: float = 0.0,  # decay of the averaged parameters that are evaluated; 0: none
    evaluate_every: int = 2000,  # steps between evaluations on validation data, samples and checkpoints
    samples: int = 64,  # images drawn at each evaluation
) -> Recipe:
    return Recipe(
        data=source(data),
        model=PixelCNN(shape=(28, 28, 1), levels=2, layers=layers, features=features),
        optimizer=optax.rmsprop(lr),
        batch=batch,
        steps=steps,
        ema=ema,
        evaluate_every=evaluate_every,
        save_every=evaluate_every,
        samples=samples,
    )


SMOKE = dict(layers=1, features=4, batch=8, steps=4, evaluate_every=2, samples=0)
EXPECTED = {"test/nats": (80.5, 82.0)}
