"""Multi Scale on static binarised MNIST. 1601.06759 gives no figure for it. Ours: not run yet.

The multi-scale PixelRNN of §3.6, of which the paper shows samples of 64×64 images and no likelihood: a Diagonal BiLSTM
draws every second row and column, 14×14 pixels, and another one the rest of the 28×28, both trained in the same run.
7 layers of 16 features at either scale, RMSProp and batches of 16 as in the paper's model of one scale (79.20 nats,
`diagonal_mnist`); step size, number of steps and the up-sampled map's features are ours.

Protocol: exact test nats per image, over both scales, Larochelle's fixed binarisation, 50k train, 10k validation, 10k
test. Logged while training: small/nats of the small image, large/nats of the other pixels given it; they add up.

    jaxgen train multiscale_mnist
    jaxgen train multiscale_mnist --scale 4 --small rowlstm    (any of the three models at either scale)
"""

from typing import Literal

import optax

from jaxgen import Recipe
from jaxgen.data import source
from jaxgen.models import DiagonalBiLSTM, MultiScale, PixelCNN, RowLSTM

NETS = {"pixelcnn": PixelCNN, "rowlstm": RowLSTM, "diagonal": DiagonalBiLSTM}


def recipe(
    data: str = "binarized_mnist",  # as `jaxgen data prepare` leaves it, or any other source or path
    scale: int = 2,  # the small image is every so many rows and columns
    small: Literal["pixelcnn", "rowlstm", "diagonal"] = "diagonal",  # the small image's model
    large: Literal["pixelcnn", "rowlstm", "diagonal"] = "diagonal",  # the model of the rest
    layers: int = 7,
    features: int = 16,
    up: int = 16,  # features of the up-sampled map
    batch: int = 16,
    steps: int = 200_000,
    lr: float = 1e-3,
    ema: float = 0.0,  # decay of the averaged parameters that are evaluated; 0: none
    evaluate_every: int = 2000,  # steps between evaluations on validation data, samples and checkpoints
    samples: int = 64,  # images drawn at each evaluation
) -> Recipe:
    whole = dict(shape=(28, 28, 1), levels=2)
    first, second = (NETS[name](layers=layers, features=features, **whole) for name in (small, large))
    return Recipe(
        data=source(data),
        model=MultiScale(small=first, large=second, scale=scale, up=up, **whole),
        optimizer=optax.rmsprop(lr),
        batch=batch,
        steps=steps,
        ema=ema,
        evaluate_every=evaluate_every,
        save_every=evaluate_every,
        samples=samples,
    )


SMOKE = dict(layers=1, features=4, up=4, batch=8, steps=4, evaluate_every=2, samples=0)
EXPECTED = {}
