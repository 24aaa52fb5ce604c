"""Inverter on MNIST. 1609.03552: no figure for it. Ours: not run yet.

The net that guesses the code of an image, for a generator that was trained before (`--of RUN`, of any model that draws
from a code without a condition), by Adam along a cosine. The run holds the generator too: it samples, encodes and
reconstructs, and `jaxgen edit` begins at its guess. Without a run it inverts a DCGAN that was not trained.

Protocol: mean squared error per sub-pixel, in units of the full range, of test images given back, and their PSNR; a
seeded tenth of the training images chooses the checkpoint. Images of a generator of fewer levels are requantised.

    jaxgen train inverter --of RUN
    jaxgen edit RUN --image test:0 --strokes FILE.png
"""

import optax

from jaxgen import Graft, Recipe, model_of
from jaxgen.data import requantised, source
from jaxgen.models.gan.dcgan import DCGAN
from jaxgen.models.gan.inverter import Inverter


def recipe(
    data: str = "tfds:mnist",  # any source or path of images of the generator's size
    of: str = "",  # the run of the generator
    features: tuple[int, ...] = (32, 64),  # maps of the encoder's convolutions
    images: float = 1.0,  # weight of the error of images given back beside that of codes
    batch: int = 64,
    steps: int = 10_000,
    lr: float = 1e-3,
    evaluate_every: int = 1000,
) -> Recipe:
    generator = model_of(of) if of else DCGAN(shape=(28, 28, 1), levels=256, features=4, latent=8)
    model = Inverter(
        shape=generator.shape, levels=generator.levels, generator=generator, features=features, images=images
    )
    return Recipe(
        data=requantised(source(data), generator.levels) if generator.levels < 256 else source(data),
        model=model,
        optimizer=optax.adam(optax.cosine_decay_schedule(lr, steps)),
        batch=batch,
        steps=steps,
        evaluate_every=evaluate_every,
        save_every=evaluate_every,
        eval_batch=500,
        grafts=tuple(Graft(run=of, take=take, put=put) for take, put in model.grafts()) if of else (),
    )


SMOKE = dict(features=(4,), batch=8, steps=2, evaluate_every=2)
EXPECTED: dict[str, tuple[float, float]] = {}
