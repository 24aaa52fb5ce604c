"""Pix2Pix on edges of MNIST, or on pairs of a user. 1611.07004: no figure that compares. Ours: not run yet.

A U-Net draws an image from another, against a critic of patches and with 100 times the L1 difference to the true one:
Adam 2e-4 with β1 = .5, weights from N(0, .02²), dropout as the only noise. The input is made of the images themselves
(`--inputs edges`, segments, gray or masked, of whatever images `--data` names), or belongs to them (`--inputs own`):
pictures of the same names in two folders, or double pictures, side by side. Widths are for a CPU; `--preset facades` is
the paper's net for 256×256 pixels, in batches of one with its jitter and mirror images.

Protocol: "test/l1", the mean absolute difference to the image of the pair, values 0 … 1, with one draw of the noise,
and SSIM; `jaxgen translate` shows and measures more.

    jaxgen train pix2pix
    jaxgen train pix2pix --preset facades --data pairs:PHOTOS,inputs=LABELS
    jaxgen train pix2pix --data folder:DIR,crop=square,resize=64 --size 64 --channels 3 --depth 6
    jaxgen translate RUN
"""

from typing import Literal

import optax

from jaxgen import Recipe
from jaxgen.core.conditions import Map
from jaxgen.data.made_pairs import with_inputs
from jaxgen.data.pairs import jittered
from jaxgen.data.source import source
from jaxgen.data.transforms import flipped
from jaxgen.models.gan.pix2pix import Pix2Pix


def recipe(
    data: str = "tfds:mnist",  # any source of images, or pairs:DIR,inputs=DIR
    inputs: Literal["own", "edges", "segments", "gray", "masked"] = "edges",  # made of the images, or the data's own
    size: int = 28,  # height and width of the images
    channels: int = 1,
    input_channels: int = 0,  # 0: 1 for edges and gray, else as many as images have
    features: int = 16,  # width of the U-Net
    depth: int = 4,  # how often it halves the sides
    dropout: float = 0.5,
    patch: int = 34,  # side of the patches that the critic sees: 1, 16, 34, 70, 142 or 286
    critic_features: int = 16,
    critic_norm: Literal["instance", "none"] = "instance",
    loss: Literal["non-saturating", "minimax", "least-squares", "hinge"] = "non-saturating",
    l1_weight: float = 100.0,
    jitter: bool = False,  # enlarge training pairs and cut them at random
    flip: bool = False,  # and mirror half of them
    batch: int = 16,
    steps: int = 5000,
    lr: float = 2e-4,
    evaluate_every: int = 500,
) -> Recipe:
    pairs = source(data)
    pairs = jittered(pairs) if jitter else pairs
    pairs = flipped(pairs) if flip else pairs
    told = input_channels or (1 if inputs in ("edges", "gray") else channels)
    return Recipe(
        data=pairs if inputs == "own" else with_inputs(pairs, inputs),
        model=Pix2Pix(
            shape=(size, size, channels),
            levels=256,
            condition=Map(told),
            features=features,
            depth=depth,
            dropout=dropout,
            patch=patch,
            critic_features=critic_features,
            critic_norm=critic_norm,
            loss=loss,
            l1_weight=l1_weight,
        ),
        optimizer=optax.adam(lr, b1=0.5),
        batch=batch,
        steps=steps,
        samples=16,
        evaluate_every=evaluate_every,
        save_every=evaluate_every,
    )


SMOKE = dict(inputs="masked", features=2, depth=1, patch=1, critic_features=2, batch=8, steps=2, evaluate_every=2)
PRESETS = {
    "facades": dict(
        inputs="own",
        size=256,
        channels=3,
        features=64,
        depth=8,
        patch=70,
        critic_features=64,
        jitter=True,
        flip=True,
        batch=1,
        steps=80_000,
        evaluate_every=4000,
    ),
}
EXPECTED: dict[str, tuple[float, float]] = {}
