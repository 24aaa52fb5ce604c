"""Order Ensemble on static binarised MNIST. 77.56† nats with 8 orders of another model. Ours: not run yet.

One Diagonal BiLSTM reads the image in any of eight orders (along rows or columns, either way) and is told which; its
probabilities in all of them are averaged: log p = lse_o log p_o − log 8. The dagger marks a figure read in a secondary
source, that of locally masked PixelCNN, and is there for comparison; we know of none for this model.

7 layers of 24 features, for a network that has eight things to learn; RMSProp, batches of 16; all settings are ours.
Each image of a training batch is read in one order. The nats logged while training are the members' mean, which the
ensemble's do not exceed.

Protocol: exact test nats per image of the mixture, Larochelle's fixed binarisation, 50k train, 10k validation, 10k
test. An evaluation is as much work as eight of a single order.

    jaxgen train diagonal_mnist_orders
    jaxgen train diagonal_mnist_orders --orders right-down left-down    (any of the eight)
"""

import optax

from jaxgen import Recipe
from jaxgen.data import source
from jaxgen.models import DiagonalBiLSTM, OrderEnsemble

ORDERS = ("right-down", "left-down", "right-up", "left-up", "down-right", "down-left", "up-right", "up-left")


def recipe(
    data: str = "binarized_mnist",  # as `jaxgen data prepare` leaves it, or any other source or path
    orders: tuple[str, ...] = ORDERS,  # a line's direction, and that from line to line
    layers: int = 7,
    features: int = 24,
    batch: int = 16,
    steps: int = 400_000,
    lr: float = 1e-3,
    ema: float = 0.0,  # decay of the averaged parameters that are evaluated; 0: none
    evaluate_every: int = 4000,  # steps between evaluations on validation data, samples and checkpoints
    samples: int = 64,  # images drawn at each evaluation
) -> Recipe:
    whole = dict(shape=(28, 28, 1), levels=2)
    net = DiagonalBiLSTM(layers=layers, features=features, **whole)
    return Recipe(
        data=source(data),
        model=OrderEnsemble(model=net, orders=orders, shared=True, **whole),
        optimizer=optax.rmsprop(lr),
        batch=batch,
        steps=steps,
        ema=ema,
        evaluate_every=evaluate_every,
        save_every=evaluate_every,
        samples=samples,
    )


SMOKE = dict(orders=("right-down", "up-left"), layers=1, features=4, batch=8, steps=4, evaluate_every=2, samples=0)
EXPECTED = {}
