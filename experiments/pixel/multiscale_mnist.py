"""Multi Scale on static binarised MNIST. 1601.06759 gives no figure for it. Ours: 81.16 nats.

The multi-scale PixelRNN of §3.6, of which the paper shows samples of 64×64 images and no likelihood: a Diagonal BiLSTM
draws every second row and column, 14×14 pixels, and another one the rest of the 28×28, both trained in the same run.
4 layers of 32 features at either scale, Muon and its settings as in `diagonal_mnist`'s preset `hour`; all of these are
ours. The model of one scale has 79.20 nats in the paper. Our figure is of 8,000 steps (`RESULTS.md`).

Protocol: exact test nats per image, over both scales, Larochelle's fixed binarisation, 50k train, 10k validation, 10k
test. Logged while training: small/nats of the small image, large/nats of the other pixels given it; they add up.

    jaxgen train multiscale_mnist --data PATH    (a folder of the .amat files, or a packed .npz)
    jaxgen train multiscale_mnist --scale 4 --small rowlstm    (any of the three models at either scale)
"""

from typing import Literal

from jaxgen import Recipe
from jaxgen.data.source import source
from jaxgen.engine.optimizers import muon, warmup_cosine
from jaxgen.models.pixel.multiscale import MultiScale
from jaxgen.models.pixel.pixelrnn import DiagonalBiLSTM, PixelCNN, RowLSTM

NETS = {"pixelcnn": PixelCNN, "rowlstm": RowLSTM, "diagonal": DiagonalBiLSTM}


def recipe(
    data: str = "binarized_mnist",  # as `jaxgen data prepare` leaves it, or any other source or path
    scale: int = 2,  # the small image is every so many rows and columns
    small: Literal["pixelcnn", "rowlstm", "diagonal"] = "diagonal",  # the small image's model
    large: Literal["pixelcnn", "rowlstm", "diagonal"] = "diagonal",  # the model of the rest
    layers: int = 4,
    features: int = 32,
    map_features: int = 32,  # features of the up-sampled map
    batch: int = 16,
    steps: int = 32_000,
    lr: float = 7e-3,  # of the matrices
    lr_rest: float = 2e-3,  # of biases, first states and the last map
    momentum: float = 0.9,
    weight_decay: float = 0.1,  # of the matrices, per step times the learning rate
    warmup: int = 200,
    clip: float = 0.13,  # largest norm of the gradient, of nats per pixel
    ema: float = 0.999,  # decay of the averaged parameters that are evaluated
    evaluate_every: int = 2000,  # steps between evaluations on validation data, samples and checkpoints
    samples: int = 64,  # images drawn at each evaluation
) -> Recipe:
    whole = dict(shape=(28, 28, 1), levels=2)
    first, second = (NETS[name](layers=layers, features=features, **whole) for name in (small, large))
    return Recipe(
        data=source(data),
        model=MultiScale(small=first, large=second, scale=scale, map_features=map_features, **whole),
        optimizer=muon(warmup_cosine(lr, steps, warmup), warmup_cosine(lr_rest, steps, warmup), momentum, weight_decay),
        batch=batch,
        steps=steps,
        clip=clip,
        ema=ema,
        evaluate_every=evaluate_every,
        save_every=500,
        samples=samples,
        eval_batch=100,
    )


SMOKE = dict(layers=1, features=4, map_features=4, batch=8, steps=4, evaluate_every=2, samples=0)
EXPECTED = {"test/nats": (79.5, 82.0)}
