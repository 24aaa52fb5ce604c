"""NICE on MNIST. 1410.8516: a log-likelihood of 1980.50 nats, of continuous images. Ours: not run yet.

Four additive couplings over perceptrons of five layers of 1000 ReLUs, a logistic prior and a diagonal scaling, as in
the paper. The schedule is ours: Adam with a warm-up and a cosine to zero, batches of 200.

Protocol: pixels 0 … 255 with uniform noise, scaled to [0, 1]; a seeded tenth of the 60k training images is held out for
validation, 10k test images. "continuous_log_prob" is the density in that scale, the published figure and the higher the
better; "nats" and "bits_per_dim" are the bound of the discrete image that follows of it (1980.50 are 4.36 bits/dim).

    jaxgen train nice_mnist
"""

import optax

from jaxgen import Recipe
from jaxgen.data.source import source
from jaxgen.engine.optimizers import warmup_cosine
from jaxgen.models.flow.nice import NICE


def recipe(
    data: str = "tfds:mnist",  # any source or path of 28×28 grey images
    couplings: int = 4,
    layers: int = 5,  # of each coupling's perceptron
    features: int = 1000,
    batch: int = 200,
    steps: int = 20_000,
    lr: float = 1e-3,
    warmup: int = 1000,
    evaluate_every: int = 2000,
    samples: int = 64,
) -> Recipe:
    return Recipe(
        data=source(data),
        model=NICE(shape=(28, 28, 1), levels=256, couplings=couplings, layers=layers, features=features),
        optimizer=optax.adam(warmup_cosine(lr, steps, warmup)),
        batch=batch,
        steps=steps,
        evaluate_every=evaluate_every,
        save_every=evaluate_every,
        samples=samples,
    )


SMOKE = dict(couplings=2, layers=1, features=8, batch=8, steps=2, warmup=1, evaluate_every=2, samples=0)
EXPECTED: dict[str, tuple[float, float]] = {}
