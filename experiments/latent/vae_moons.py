"""VAE on moons by phase. Unpublished. Ours: not run yet.

Why the KL term. `--preset no-kl` leaves it out (β = 0): nothing then pays for a narrow posterior, its width falls to
nothing, and what is left is an auto-encoder, which `--preset autoencoder` is from the start. "posterior_std" tells the
width, 1 where nothing is told of the image. `experiments/studies/moons.py` trains the three and draws them together.

Protocol: 2000 moons of 20×20 with 8 levels, a tenth of them for validation, have no phase between 0.6 and 0.9; the
500 test moons have no other.

    jaxgen train vae_moons
    jaxgen train vae_moons --preset no-kl
    jaxgen train vae_moons --preset autoencoder
"""

import optax

from jaxgen import Recipe
from jaxgen.data.synthetic import moons
from jaxgen.data.transforms import requantised
from jaxgen.engine.optimizers import warmup_cosine
from jaxgen.models.latent.autoencoder import AutoEncoder
from jaxgen.models.latent.vae import VAE


def recipe(
    size: int = 20,
    num: int = 2000,
    levels: int = 8,
    latent: int = 8,
    hidden: tuple[int, ...] = (128,),
    plain: bool = False,  # an auto-encoder without noise in place of the VAE
    beta: float = 1.0,
    free_bits: float = 0.0,
    batch: int = 50,
    steps: int = 5000,
    lr: float = 1e-3,
    warmup: int = 100,
    ema: float = 0.999,
    evaluate_every: int = 1000,
) -> Recipe:
    nets = dict(shape=(size, size, 1), levels=levels, latent=latent, hidden=hidden)
    vae = VAE(**nets, beta=beta, free_bits=free_bits)
    return Recipe(
        data=requantised(moons(size, num), levels),
        model=AutoEncoder(**nets) if plain else vae,
        optimizer=optax.adam(warmup_cosine(lr, steps, warmup)),
        batch=batch,
        steps=steps,
        ema=ema,
        evaluate_every=evaluate_every,
        save_every=evaluate_every,
    )


SMOKE = dict(size=8, num=40, latent=2, hidden=(8,), batch=8, steps=4, warmup=1, evaluate_every=2)
PRESETS = {"no-kl": dict(beta=0.0), "autoencoder": dict(plain=True)}
EXPECTED: dict[str, tuple[float, float]] = {}
