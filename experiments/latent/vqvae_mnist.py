"""VQVAE on MNIST. 1711.00937 has no figure for it. Ours: not run yet.

A map of 7×7 codes out of 256, each of 16 numbers: two halvings of 64 features, two residual blocks on each side and a
codebook that follows by moving averages of decay .99, as in the paper. Ours are a mixture of discretised logistics for
every pixel, Adam, the cosine, batches of 100, and β = 4 for .25: the loss is in nats of an image, which are many.

Protocol: test bits/dim of the 256 grey levels, as a bound: −log p(x|z) of the codes that an image has, and 49 · log 256
nats for them. The prior of `vq_prior_mnist` spends less on the codes. A seeded tenth of the 60k training images is held
out for validation.

    jaxgen train vqvae_mnist
    jaxgen train vq_prior_mnist --vqvae runs/vqvae_mnist
"""

import optax

from jaxgen import Recipe
from jaxgen.data.source import source
from jaxgen.engine.optimizers import warmup_cosine
from jaxgen.models.latent.vqvae import VQVAE


def recipe(
    data: str = "tfds:mnist",  # any source or path of 28×28 grey images
    entries: int = 256,  # of the codebook
    latent: int = 16,
    features: tuple[int, ...] = (64, 64),  # of the halving convolutions
    blocks: int = 2,
    components: int = 5,  # logistics for every pixel; 0: a softmax
    commitment: float = 4.0,
    batch: int = 100,
    steps: int = 20_000,
    lr: float = 1e-3,
    warmup: int = 200,
    evaluate_every: int = 2000,
) -> Recipe:
    nets = dict(entries=entries, latent=latent, features=features, blocks=blocks, components=components)
    return Recipe(
        data=source(data),
        model=VQVAE(shape=(28, 28, 1), levels=256, commitment=commitment, **nets),
        optimizer=optax.adam(warmup_cosine(lr, steps, warmup)),
        batch=batch,
        steps=steps,
        evaluate_every=evaluate_every,
        save_every=evaluate_every,
    )


SMOKE = dict(entries=4, latent=2, features=(4,), blocks=0, components=1, batch=8, steps=4, warmup=1, evaluate_every=2)
EXPECTED: dict[str, tuple[float, float]] = {}
