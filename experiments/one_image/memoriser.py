"""Memoriser on CIFAR-10, 256 images of it. 1707.05776: no figure that compares. Ours: 46.91 dB (`--net dense`).

A DCGAN's generator with layer norm, from a code of 64 numbers for each image, fixed or learned along with it (GLO).
Adam with a cosine to zero; learned codes have a step size of their own, and no momentum, so that a code moves only with
its own image. `--preset glo` has learned codes and the loss of the paper. `--content` gives the controls: the images'
pixels in another order, the same for all, or noise of their mean and standard deviation.

Protocol: the figure is of the images that are to be kept, all splits the same: mean PSNR, before rounding. Samples lie
between the codes of two images; the second command shows the images that are nearest to them.

    jaxgen train memoriser
    jaxgen nearest RUN
    jaxgen interpolate RUN
"""

from typing import Literal

import optax

from jaxgen import Recipe
from jaxgen.data.memorised import memorised
from jaxgen.data.source import source
from jaxgen.engine.optimizers import warmup_cosine
from jaxgen.models.one_image.memoriser import Memoriser


def recipe(
    data: str = "tfds:cifar10",  # any source or path
    size: int = 32,  # height and width of the images
    channels: int = 3,
    images: int = 256,  # how many are kept
    content: Literal["images", "shuffled", "noise"] = "images",
    codes: Literal["fixed", "learned"] = "fixed",
    latent: int = 64,  # numbers of a code
    net: Literal["dense", "dcgan", "resnet"] = "dcgan",
    features: int = 32,  # width of the net
    norm: Literal["layer", "none"] = "layer",
    loss: Literal["squared", "laplacian"] = "squared",
    batch: int = 64,
    steps: int = 10_000,
    lr: float = 1e-3,
    code_lr: float = 1e-3,  # of learned codes
    warmup: int = 200,
    evaluate_every: int = 1000,
) -> Recipe:
    adam = optax.adam(warmup_cosine(lr, steps, warmup))
    of_codes = optax.adam(warmup_cosine(code_lr, steps, warmup), b1=0.0)
    each = {"generator": "generator", "codes": "codes"}
    return Recipe(
        data=memorised(source(data), images, content),
        model=Memoriser(
            shape=(size, size, channels),
            levels=256,
            images=images,
            codes=codes,
            latent=latent,
            net=net,
            features=features,
            norm=norm,
            loss=loss,
        ),
        optimizer=optax.partition({"generator": adam, "codes": of_codes}, each) if codes == "learned" else adam,
        batch=batch,
        steps=steps,
        evaluate_every=evaluate_every,
        save_every=evaluate_every,
    )


SMOKE = dict(
    images=8, codes="learned", latent=2, net="dense", features=1, loss="laplacian", batch=8, steps=2, evaluate_every=2
)
PRESETS = {"glo": dict(codes="learned", loss="laplacian")}
EXPECTED: dict[str, tuple[float, float]] = {}
