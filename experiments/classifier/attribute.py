"""ConvClassifier on avatars. No paper's net, no published figure. Ours: not run yet.

Whether an attribute is there, such as glasses: any array of the data with a number for each image, of which 0 means
that it is absent. By such classifiers `jaxgen arithmetic` says what sums of codes add to images and what they keep.
Two blocks of a 3×3 convolution and pooling, 64 hidden units, dropout of a quarter; Adam with a warm-up, then a cosine
to zero. A minute of one CPU core.

Protocol: error in percent on the test images, of which most lack a rare attribute.

    jaxgen train attribute --data npz:FILE --attribute glasses --run runs/glasses
"""

import optax

from jaxgen import Recipe
from jaxgen.data.source import source
from jaxgen.data.transforms import by_attribute
from jaxgen.engine.optimizers import warmup_cosine
from jaxgen.models.classifier import ConvClassifier


def recipe(
    data: str = "npz:avatars.npz",  # any source or path of images with the attribute
    attribute: str = "glasses",  # the array that says whether it is there
    above: int = 0,  # it is there where the array is above this
    size: int = 16,  # height and width of the images
    channels: int = 3,
    conv: tuple[int, ...] = (16, 32),  # features of the convolutions, one number for each block
    hidden: int = 64,
    dropout: float = 0.25,
    batch: int = 128,
    steps: int = 1500,
    lr: float = 2e-3,
    warmup: int = 100,
    evaluate_every: int = 500,
) -> Recipe:
    return Recipe(
        data=by_attribute(source(data), attribute, above),
        model=ConvClassifier(
            shape=(size, size, channels), levels=256, classes=2, conv=conv, hidden=hidden, dropout=dropout
        ),
        optimizer=optax.adam(warmup_cosine(lr, steps, warmup)),
        batch=batch,
        steps=steps,
        evaluate_every=evaluate_every,
        save_every=evaluate_every,
    )


SMOKE = dict(attribute="label", above=4, conv=(2, 2), hidden=4, batch=8, steps=4, warmup=1, evaluate_every=2)
EXPECTED: dict[str, tuple[float, float]] = {}
