"""AttributeReader on captioned scenes. No paper's net, no published figure. Ours: not run yet.

Reads shapes, colours, sizes, places and the background off a scene, so that what a sentence asked for can be counted in
pictures drawn by it: it judges `scenes_text` and `gated_scenes`, and its own errors are their ceiling. Three blocks of
a 3×3 convolution and pooling, 32, 64 and 128 features, 256 hidden units, dropout of a quarter; Adam with a warm-up,
then a cosine to zero. Some ten minutes of one CPU core.

Protocol: percent of attributes read wrongly, averaged over test scenes; of objects from left to right or from top to
bottom. A seeded tenth of the training scenes is held out for validation, which decides the best checkpoint.

    jaxgen train scenes_reader --run runs/scenes_reader
"""

import optax

from jaxgen import Recipe
from jaxgen.data.scene_sentences import ATTRIBUTES
from jaxgen.data.source import source
from jaxgen.engine.optimizers import warmup_cosine
from jaxgen.models.attribute_reader import AttributeReader


def recipe(
    data: str = "scenes,num=20000",  # ,objects=1-3 for more of them, ,size=64 for larger ones
    size: int = 32,  # height and width of the images
    conv: tuple[int, ...] = (32, 64, 128),  # features of the convolutions, one number for each block
    hidden: int = 256,
    dropout: float = 0.25,
    batch: int = 128,
    steps: int = 3000,
    lr: float = 2e-3,
    warmup: int = 200,
    evaluate_every: int = 500,
) -> Recipe:
    attributes = tuple((name, len(values)) for name, values in ATTRIBUTES.items())
    return Recipe(
        data=source(data),
        model=AttributeReader(
            shape=(size, size, 3), levels=256, attributes=attributes, conv=conv, hidden=hidden, dropout=dropout
        ),
        optimizer=optax.adam(warmup_cosine(lr, steps, warmup)),
        batch=batch,
        steps=steps,
        evaluate_every=evaluate_every,
        save_every=evaluate_every,
    )


SMOKE = dict(conv=(2, 2, 2), hidden=4, batch=8, steps=4, warmup=1, evaluate_every=2)
EXPECTED: dict[str, tuple[float, float]] = {}
