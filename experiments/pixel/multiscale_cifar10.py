"""Multi Scale on CIFAR-10. 1601.06759 gives no figure for it. Ours: not run yet.

The multi-scale PixelRNN of §3.6, of which the paper shows samples of 64×64 images and no likelihood: a Diagonal BiLSTM
draws every second row and column, 16×16 pixels, and another one the rest of the 32×32, both trained in the same run.
12 layers of 128 features at either scale, final layers of 1024, RMSProp and batches of 16 as in the paper's model of
one scale (3.00 bits/dim, `diagonal_cifar10`); step size, number of steps and the up-sampled map's features are ours.

Protocol: exact test bits/dim, over both scales, 256 levels, 45k train and a seeded 5k validation of the 50k, the 10k
test images. Logged while training: small/nats of the small image, large/nats of the other pixels given it; they add up.

    jaxgen train multiscale_cifar10
    jaxgen train multiscale_cifar10 --dtype bfloat16 --batch 64    (on a GPU or TPU)
"""

from typing import Literal

import optax

from jaxgen import Recipe
from jaxgen.data.source import source
from jaxgen.models.pixel.multiscale import MultiScale
from jaxgen.models.pixel.pixelrnn import DiagonalBiLSTM, PixelCNN, RowLSTM

NETS = {"pixelcnn": PixelCNN, "rowlstm": RowLSTM, "diagonal": DiagonalBiLSTM}


def recipe(
    data: str = "tfds:cifar10",  # any source or path of 32×32 RGB images
    scale: int = 2,  # the small image is every so many rows and columns
    small: Literal["pixelcnn", "rowlstm", "diagonal"] = "diagonal",  # the small image's model
    large: Literal["pixelcnn", "rowlstm", "diagonal"] = "diagonal",  # the model of the rest
    layers: int = 12,
    features: int = 128,
    head_features: int = 1024,  # features of the final layers
    map_features: int = 64,  # features of the up-sampled map
    batch: int = 16,
    steps: int = 200_000,
    lr: float = 1e-3,
    dtype: Literal["float32", "bfloat16"] = "float32",  # of the layers' arithmetic; parameters stay float32
    evaluate_every: int = 5000,  # steps between evaluations on validation data, samples and checkpoints
    samples: int = 64,  # images drawn at each evaluation
) -> Recipe:
    whole = dict(shape=(32, 32, 3), levels=256)
    net = dict(layers=layers, features=features, head_features=head_features, dtype=dtype, **whole)
    return Recipe(
        data=source(data),
        model=MultiScale(
            small=NETS[small](**net), large=NETS[large](**net), scale=scale, map_features=map_features, **whole
        ),
        optimizer=optax.rmsprop(lr),
        batch=batch,
        steps=steps,
        evaluate_every=evaluate_every,
        save_every=evaluate_every,
        samples=samples,
    )


SMOKE = dict(layers=1, features=3, head_features=6, map_features=3, batch=8, steps=2, evaluate_every=2, samples=0)
EXPECTED = {}
