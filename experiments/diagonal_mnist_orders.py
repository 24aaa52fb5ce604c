"""Order Ensemble on static binarised MNIST. 77.56† nats with 8 orders of another model. Ours: 79.89 nats, 2 orders.

One Diagonal BiLSTM reads the image in any of eight orders (along rows or columns, either way) and is told which; its
probabilities in all of them are averaged: log p = lse_o log p_o − log 8. The dagger marks a figure read in a secondary
source, that of locally masked PixelCNN, and is there for comparison; we know of none for this model.

4 layers of 48 features, for a network that has eight things to learn; Muon and its settings as in
`diagonal_mnist_hour`, the rate apart, which are ours. Each image of a training batch is read in one order. The nats
logged while training are the members' mean, which the ensemble's do not exceed. Our figure is of two orders, 32
features and 5,000 steps (`RESULTS.md`).

Protocol: exact test nats per image of the mixture, Larochelle's fixed binarisation, 50k train, 10k validation, 10k
test. An evaluation is as much work as eight of a single order.

    jaxgen train diagonal_mnist_orders --data PATH    (a folder of the .amat files, or a packed .npz)
    jaxgen train diagonal_mnist_orders --data PATH --orders right-down left-up    (any of the eight)
"""

from jaxgen import Recipe
from jaxgen.data import source
from jaxgen.models import DiagonalBiLSTM, OrderEnsemble
from jaxgen.optimizers import muon, warmup_cosine

ORDERS = ("right-down", "left-down", "right-up", "left-up", "down-right", "down-left", "up-right", "up-left")


def recipe(
    data: str = "binarized_mnist",  # as `jaxgen data prepare` leaves it, or any other source or path
    orders: tuple[str, ...] = ORDERS,  # a line's direction, and that from line to line
    layers: int = 4,
    features: int = 48,
    batch: int = 16,
    steps: int = 64_000,
    lr: float = 6e-3,  # of the matrices
    lr_rest: float = 2e-3,  # of biases, first states and the last map
    momentum: float = 0.9,
    weight_decay: float = 0.1,  # of the matrices, per step times the learning rate
    warmup: int = 200,
    clip: float = 0.13,  # largest norm of the gradient, of nats per pixel
    ema: float = 0.999,  # decay of the averaged parameters that are evaluated
    evaluate_every: int = 4000,  # steps between evaluations on validation data, samples and checkpoints
    samples: int = 64,  # images drawn at each evaluation
) -> Recipe:
    whole = dict(shape=(28, 28, 1), levels=2)
    net = DiagonalBiLSTM(layers=layers, features=features, **whole)
    return Recipe(
        data=source(data),
        model=OrderEnsemble(model=net, orders=orders, shared=True, **whole),
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


SMOKE = dict(orders=("right-down", "up-left"), layers=1, features=4, batch=8, steps=4, evaluate_every=2, samples=0)
EXPECTED = {"test/nats": (77.5, 81.0)}
