"""Deep Image Prior on one picture. 1711.10925: 29.22 dB at σ = 25, 30.43 averaged. Ours: not run yet.

An hourglass of five scales of 128 features with skips of 4, from noise in 32 features, by Adam of .01, for the steps
and with the jitter of the paper's tasks (`--task`). `jaxgen restore` is this recipe with a picture at its end. Without
a picture it is a photograph of scikit-learn's that is damaged here; `--damage` does so with any whole one.

`--preset small` has 32 features, a step of a tenth of the time; `pixels` and `hole` are the paper's settings where half
of all pixels and where large regions are missing. Deviations: JPEG artefacts and noise have one net, and low-resolution
images of whole ones are made by the window of the loss.

Protocol: PSNR of the averaged output against the original, which no training sees. It ends where the variance of the
outputs has not fallen for `--patience` evaluations, and gives back the average at the least.

    jaxgen train deep_image_prior
    jaxgen train deep_image_prior --image PICTURE.png --task superres --factor 4
    jaxgen restore denoise PICTURE.png --original WHOLE.png -o OUT.png
"""

import math
from typing import Literal

import optax

from jaxgen import Recipe
from jaxgen.data.damaged import source_to_restore, to_restore
from jaxgen.explore.restore import SETTINGS
from jaxgen.models.one_image.deep_image_prior import DeepImagePrior


def recipe(
    image: str = "",  # a picture, or a folder of pictures of one size; none: scikit-learn's photograph
    task: Literal["denoise", "superres", "inpaint", "jpeg"] = "denoise",
    original: str = "",  # what is to come out, where that is known
    mask: str = "",  # of what is to be inpainted: dark where pixels are missing
    damage: bool = False,  # the picture is whole: damage it first
    crop: int = 0,  # side of a centred square, 0: all of the picture, and 256 pixels of scikit-learn's
    factor: int = 4,  # by which superres enlarges
    sigma: float = 25.0,  # of the noise that damages, of 255
    missing: float = 0.5,  # share of the pixels that go missing
    quality: int = 10,  # of JPEG that damages
    shape: tuple[int, ...] = (),  # images, height, width, channels that come out; none: by the picture
    features: int = 128,
    scales: int = 5,
    skip: int = 4,  # features of each skip
    depth: int = 32,  # features of the noise that is put in
    upsampling: Literal["bilinear", "nearest"] | None = None,  # none: the task's
    jitter: float | None = None,  # of the noise that is put in; none: the task's
    average: float = 0.99,  # decay of the averaged outputs
    stops: bool = True,  # by the variance of the outputs; else after all steps
    steps: int | None = None,  # at most; none: the task's
    lr: float = 0.01,
    batch: int | None = None,  # rows of a step, a multiple of the devices; none: one for each image
    evaluate_every: int = 100,
    patience: int | None = 10,
) -> Recipe:
    crop = crop or (0 if image else 256)
    settings = dict(original=original, mask=mask, damage=damage, crop=crop, factor=factor, sigma=sigma)
    settings |= dict(missing=missing, quality=quality)
    images, *sides = shape or to_restore(image, task, **settings)["image"].shape
    own = SETTINGS[f"superres{factor}" if task == "superres" else task]
    rows = batch or images
    steps = steps or own.steps
    return Recipe(
        data=source_to_restore(rows, image, task, **settings),
        model=DeepImagePrior(
            shape=tuple(sides),
            levels=256,
            images=images,
            factor=factor if task == "superres" else 1,
            features=(features,) * scales,
            skips=(skip,) * scales,
            depth=depth,
            upsampling=upsampling or own.upsampling,
            jitter=own.jitter if jitter is None else jitter,
            average=average,
            stops=stops,
        ),
        optimizer=optax.adam(lr),
        batch=rows,
        steps=steps,
        evaluate_every=evaluate_every,
        save_every=math.ceil(500 / evaluate_every) * evaluate_every,
        patience=patience if stops else None,
        samples=images,
    )


SMOKE = dict(crop=12, features=8, scales=1, batch=8, steps=4, evaluate_every=2)
PRESETS = {
    "small": dict(features=32),
    "pixels": dict(task="inpaint", lr=1e-3, steps=11_000, upsampling="bilinear"),
    "hole": dict(task="inpaint", scales=6, skip=0, jitter=0.0, steps=3000),
}
EXPECTED: dict[str, tuple[float, float]] = {}
