"""VQPrior on MNIST. 1711.00937 has no figure for it. Ours: not run yet.

Both stages in one run: the VQ-VAE of `vqvae_mnist` in the steps before `first`, then a gated PixelCNN of its 7×7 codes.
With `--vqvae` the first stage is that of a run, whose codes are made once; steps are then the prior's alone, and the
knobs from `entries` to `commitment` have no part.

Protocol: test bits/dim of the 256 grey levels, as a bound: −log p(z) − log p(x|z) of the codes z that an image has. A
seeded tenth of the 60k training images is held out for validation.

    jaxgen train vq_prior_mnist
    jaxgen train vq_prior_mnist --vqvae runs/vqvae_mnist --steps 20000
"""

import optax

from jaxgen import Graft, Recipe, model_of
from jaxgen.data.source import source
from jaxgen.engine.optimizers import warmup_cosine
from jaxgen.models.latent.vq_prior import VQPrior
from jaxgen.models.latent.vqvae import VQVAE
from jaxgen.models.pixel.gated import GatedPixelCNN


def recipe(
    data: str = "tfds:mnist",  # any source or path of 28×28 grey images
    vqvae: str = "",  # run of the first stage; none: it is trained here
    first: int = 20_000,  # steps of the first stage, where it is trained here
    entries: int = 256,  # of the codebook
    latent: int = 16,
    features: tuple[int, ...] = (64, 64),  # of the halving convolutions
    blocks: int = 2,
    components: int = 5,  # logistics for every pixel; 0: a softmax
    commitment: float = 4.0,
    digits: int = 1,  # in which a code is written for the prior
    layers: int = 6,  # of the prior
    prior_features: int = 64,
    dropout: float = 0.1,
    batch: int = 100,
    steps: int = 40_000,  # of both stages
    lr: float = 1e-3,  # of either, at first; it falls to zero along a cosine
    warmup: int = 200,
    ema: float = 0.999,
    evaluate_every: int = 5000,
    samples: int = 64,
) -> Recipe:
    image = dict(shape=(28, 28, 1), levels=256)
    nets = dict(entries=entries, latent=latent, features=features, blocks=blocks, components=components)
    stage_one = model_of(vqvae) if vqvae else VQVAE(commitment=commitment, **nets, **image)
    first = 0 if vqvae else first
    parts = ("params", "codebook") if vqvae else ()
    prior = GatedPixelCNN(layers=layers, features=prior_features, dropout=dropout, **image)
    return Recipe(
        data=source(data),
        model=VQPrior(vqvae=stage_one, prior=prior, digits=digits, first=first, **image),
        grafts=tuple(Graft(run=vqvae, take=part, put=f"frozen/{part}") for part in parts),
        optimizer=optax.adam(warmup_cosine(lr, max(first, steps - first), warmup)),
        batch=batch,
        steps=steps,
        ema=ema,
        evaluate_every=evaluate_every,
        save_every=evaluate_every,
        samples=samples,
    )


SMOKE = dict(
    entries=4,
    latent=2,
    features=(4,),
    blocks=0,
    components=1,
    layers=1,
    prior_features=4,
    batch=8,
    steps=4,
    first=2,
    warmup=1,
    evaluate_every=2,
    samples=0,
)
EXPECTED: dict[str, tuple[float, float]] = {}
