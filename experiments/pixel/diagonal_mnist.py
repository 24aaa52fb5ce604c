"""Diagonal BiLSTM on static binarised MNIST. 1601.06759: 79.20 nats. Ours: 78.72 (hour), 81.43 (short), 79.89 (orders).

7 layers of 16 features, RMSProp and batches of 16 as in the paper; step size and number of steps are ours, and this has
not been run to its end. The wiring is the hole-free one; `--wiring paper` is the published one. The presets' settings
are ours: Muon with warm-up and a cosine to zero, averaged parameters.

hour     for an hour on two cores: 4 layers of 32 features. Ours is of 32,327 steps in 54 minutes
         (`benchmarks/time_to_quality.py --minutes 60`). Without the weight decay, at higher rates, a run diverged.

short    for minutes: 4 layers of 16 features. Ours is after eight of them (`benchmarks/time_to_quality.py`); `hour`
         came to 79.60 in eight on a quicker machine.

orders   one network reads the image in any of eight orders (along rows or columns, either way) and is told which; its
         probabilities in all of them are averaged: log p = lse_o log p_o − log 8. 48 features, for a network that has
         eight things to learn. The nats logged while training are the members' mean, which the ensemble's do not
         exceed; an evaluation is as much work as eight of a single order. Ours is of two orders, 32 features and 5,000
         steps (`RESULTS.md`). For comparison: 77.56 nats of locally masked PixelCNN with 8 orders, read in a secondary
         source.

Protocol: exact test nats per image, Larochelle's fixed binarisation, 50k train, 10k validation, 10k test.

    jaxgen train diagonal_mnist
    jaxgen train diagonal_mnist --preset hour --data PATH    (a folder of the .amat files, or a packed .npz)
    jaxgen train diagonal_mnist --preset orders --data PATH --orders right-down left-up    (any of the eight)
"""

from typing import Literal

import optax

from jaxgen import DiagonalBiLSTM, OrderEnsemble, Recipe, muon, source, warmup_cosine

ALL_ORDERS = ("right-down", "left-down", "right-up", "left-up", "down-right", "down-left", "up-right", "up-left")


def recipe(
    data: str = "binarized_mnist",  # as `jaxgen data prepare` leaves it, or any other source or path
    layers: int = 7,
    features: int = 16,
    wiring: Literal["full", "paper"] = "full",  # hole-free, or as published
    orders: tuple[str, ...] = ("right-down",),  # a line's direction, and that from line to line; of several, a mixture
    batch: int = 16,
    steps: int = 200_000,
    optimizer: Literal["rmsprop", "muon"] = "rmsprop",  # as in the paper, or ours, with warm-up and a cosine to zero
    lr: float = 1e-3,  # under Muon that of the matrices
    lr_rest: float = 2e-3,  # of biases, first states and the last map, under Muon
    momentum: float = 0.9,  # of Muon
    weight_decay: float = 0.0,  # of the matrices under Muon, per step times the learning rate
    warmup: int = 200,  # of Muon
    clip: float | None = None,  # largest norm of the gradient, of nats per pixel
    ema: float = 0.0,  # decay of the averaged parameters that are evaluated; 0: none
    evaluate_every: int = 2000,  # steps between evaluations on validation data, samples and checkpoints
    save_every: int = 500,  # steps between checkpoints
    samples: int = 64,  # images drawn at each evaluation
) -> Recipe:
    whole = dict(shape=(28, 28, 1), levels=2)
    model = DiagonalBiLSTM(layers=layers, features=features, wiring=wiring, order=orders[0], **whole)
    rates = warmup_cosine(lr, steps, warmup), warmup_cosine(lr_rest, steps, warmup)
    return Recipe(
        data=source(data),
        model=OrderEnsemble(model=model, orders=orders, shared=True, **whole) if len(orders) > 1 else model,
        optimizer=muon(*rates, momentum, weight_decay) if optimizer == "muon" else optax.rmsprop(lr),
        batch=batch,
        steps=steps,
        clip=clip,
        ema=ema,
        evaluate_every=evaluate_every,
        save_every=save_every,
        samples=samples,
        eval_batch=100,
    )


OURS = dict(optimizer="muon", layers=4, features=32, lr=7e-3, weight_decay=0.1, clip=0.13, ema=0.999)
SHORT = dict(features=16, steps=6000, lr=1e-2, lr_rest=3e-3, weight_decay=0.0, evaluate_every=3000)
SMOKE = dict(layers=1, features=4, batch=8, steps=4, evaluate_every=2, samples=0)
PRESETS = {
    "hour": OURS | dict(steps=32_000),
    "short": OURS | SHORT,
    "orders": OURS | dict(orders=ALL_ORDERS, features=48, steps=64_000, lr=6e-3, evaluate_every=4000),
}
EXPECTED = {
    "test/nats": (78.0, 80.0),
    "hour": {"test/nats": (78.0, 79.5)},
    "short": {"test/nats": (80.0, 84.0)},
    "orders": {"test/nats": (77.5, 81.0)},
}
