"""Order Ensemble on static binarised MNIST. 77.56† nats with 8 orders of another model. Ours: not run yet.

A PixelCNN for each of eight orders (along rows or columns, either way), trained side by side in one run on the same
batches, and the average of their probabilities: log p = lse_o log p_o − log 8. The dagger marks a figure read in a
secondary source, that of locally masked PixelCNN, and is there for comparison; a single PixelCNN has 81.30 nats in
1601.06759, and an ensemble is at least as good as its members on average.

15 residual blocks of 64 features, RMSProp and batches of 16 as in `pixelcnn_mnist`; step size and number of steps are
ours. Logged while training: each order's nats, behind its name.

Protocol: exact test nats per image of the mixture, Larochelle's fixed binarisation, 50k train, 10k validation, 10k
test. The best checkpoint is that of the ensemble.

    jaxgen train pixelcnn_mnist_orders
    jaxgen train pixelcnn_mnist_orders --orders right-down left-down    (any of the eight)
"""

import optax

from jaxgen import Recipe
from jaxgen.data import source
from jaxgen.models import OrderEnsemble, PixelCNN

ORDERS = ("right-down", "left-down", "right-up", "left-up", "down-right", "down-left", "up-right", "up-left")


def recipe(
    data: str = "binarized_mnist",  # as `jaxgen data prepare` leaves it, or any other source or path
    orders: tuple[str, ...] = ORDERS,  # a line's direction, and that from line to line
    layers: int = 15,
    features: int = 64,
    batch: int = 16,
    steps: int = 200_000,
    lr: float = 1e-3,
    ema: float = 0.0,  # decay of the averaged parameters that are evaluated; 0: none
    evaluate_every: int = 2000,  # steps between evaluations on validation data, samples and checkpoints
    samples: int = 64,  # images drawn at each evaluation
) -> Recipe:
    whole = dict(shape=(28, 28, 1), levels=2)
    net = PixelCNN(layers=layers, features=features, **whole)
    return Recipe(
        data=source(data),
        model=OrderEnsemble(model=net, orders=orders, **whole),
        optimizer=optax.rmsprop(lr),
        batch=batch,
        steps=steps,
        ema=ema,
        evaluate_every=evaluate_every,
        save_every=evaluate_every,
        samples=samples,
    )


SMOKE = dict(orders=("right-down", "up-left"), layers=1, features=4, batch=8, steps=4, evaluate_every=2, samples=0)
EXPECTED = {"test/nats": (77.5, 82.0)}
