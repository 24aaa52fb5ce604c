"""VAE on dynamically binarised MNIST. 1509.00519: 86.76 nats as −L_5000. Ours: 91.19, 185 epochs.

Perceptrons 784–200–200–50 with tanh, the one-layer net of the paper for k = 1, by Adam with ε = 1e-4. The schedule is
ours: batches of 100, a warm-up, then a cosine to zero, and averaged parameters. `--preset paper` is the paper's:
batches of 20, the step size 1e-3·10^(−i/7) held for 3^i epochs, i = 0 … 7, 3280 in all. `--preset conv` has
convolutions; `--beta` and `--free-bits` change the loss, and not the figures, which stay those of the ELBO.

Protocol: test pixels are drawn anew from their intensities (dynamic binarisation). Training tells the bound with one
draw of z per image; the published figure is −L_5000, tighter, which the second command measures.

    jaxgen train vae_mnist
    jaxgen evaluate RUN --iw-samples 5000
"""

import optax

from jaxgen import Recipe
from jaxgen.data.source import source
from jaxgen.data.transforms import dynamic_binarization
from jaxgen.engine.optimizers import warmup_cosine
from jaxgen.models.latent.vae import VAE


def recipe(
    data: str = "tfds:mnist",  # any source or path of 28×28 grey images
    latent: int = 50,
    net: str = "dense",  # or conv
    hidden: tuple[int, ...] = (200, 200),  # widths of dense layers, or feature maps of convolutions
    beta: float = 1.0,  # weight of the KL term in the loss
    free_bits: float = 0.0,  # nats of each number of the code that cost nothing
    batch: int = 100,
    steps: int = 100_000,
    lr: float = 2e-3,
    warmup: int = 1000,
    passes: int = -1,  # the last i of the paper's schedule in place of the cosine; it sets the steps
    epoch: int = 2700,  # the paper's schedule: steps of one pass over the training images
    ema: float = 0.9995,
    evaluate_every: int = 10_000,
) -> Recipe:
    schedule = warmup_cosine(lr, steps, warmup)
    if passes >= 0:
        lengths = [3**i * epoch for i in range(passes + 1)]
        rates = [optax.constant_schedule(lr * 10 ** (-i / 7)) for i in range(passes + 1)]
        schedule, steps = optax.join_schedules(rates, [sum(lengths[: i + 1]) for i in range(passes)]), sum(lengths)
    nets = dict(latent=latent, net=net, hidden=hidden)
    return Recipe(
        data=dynamic_binarization(source(data)),
        model=VAE(shape=(28, 28, 1), levels=2, **nets, beta=beta, free_bits=free_bits),
        optimizer=optax.adam(schedule, eps=1e-4),
        batch=batch,
        steps=steps,
        ema=ema,
        evaluate_every=evaluate_every,
        save_every=evaluate_every,
    )


SMOKE = dict(latent=2, hidden=(8,), batch=8, steps=4, warmup=1, evaluate_every=2)
PRESETS = {
    "paper": dict(batch=20, lr=1e-3, passes=7, ema=0.0, evaluate_every=13_500),
    "conv": dict(net="conv", hidden=(32, 64)),
}
EXPECTED = {"test/nats": (94.3, 95.6)}
