"""Gated PixelCNN on captioned scenes. 1606.05328 has no figure for them. Ours: not run yet.

The likelihood rival of `scenes_text`: it is told the same vectors of the same sentences, with `--encoder` and the
folder of a run of that recipe, and judged by the same reader. Without an encoder it is told how often each word is in
the sentence, in no order. The vector enters the gates of every layer (1606.05328, eq. 4). Scenes have 8 levels.

Protocol: exact test bits/dim of scenes of 8 levels given their sentences; and with `--judge` and the folder of a
`scenes_reader` run the percentage of attributes of validation sentences that it reads back from samples.

    jaxgen train gated_scenes --encoder runs/scenes_text --judge runs/scenes_reader
"""

from typing import Any

import optax

from jaxgen import Recipe, model_of
from jaxgen.core.conditions import Vector
from jaxgen.data.captions import bags_of_words, captioned
from jaxgen.data.source import source
from jaxgen.data.transforms import requantised
from jaxgen.engine.optimizers import warmup_cosine
from jaxgen.models.pixel.gated import GatedPixelCNN
from jaxgen.runs.grafts import vocabulary_of
from jaxgen.runs.scene_judge import SceneJudge
from jaxgen.runs.sentence_vectors import with_sentence_vectors


def recipe(
    data: str = "scenes,num=20000",  # or any source or path of images with sentences
    size: int = 32,  # height and width of the images
    levels: int = 8,
    words: int = 100,  # that are counted, where there is no encoder
    length: int = 28,  # words of a sentence at most
    encoder: str = "",  # a run of scenes_text, whose vectors of sentences the model is told
    layers: int = 6,
    features: int = 32,
    kernel: int = 5,  # width of the layers' convolutions
    batch: int = 16,
    steps: int = 20_000,
    lr: float = 1e-3,
    warmup: int = 200,
    ema: float = 0.999,  # decay of the averaged parameters that are evaluated; 0: none
    judge: str = "",  # a run of scenes_reader, which says what of the sentences is in samples
    evaluate_every: int = 2000,  # steps between evaluations on validation data, samples and checkpoints
    samples: int = 64,  # images drawn at each evaluation
) -> Recipe:
    images = requantised(source(data), levels)
    if encoder:
        of: Any = model_of(encoder).condition
        told = with_sentence_vectors(captioned(images, length=of.length, vocabulary=vocabulary_of(encoder)), encoder)
        condition = Vector(of.size)
    else:
        told, condition = bags_of_words(captioned(images, words, length), words + 3), Vector(words + 3)
    return Recipe(
        data=told,
        model=GatedPixelCNN(
            shape=(size, size, 3), levels=levels, condition=condition, layers=layers, features=features, kernel=kernel
        ),
        optimizer=optax.adam(warmup_cosine(lr, steps, warmup)),
        batch=batch,
        steps=steps,
        ema=ema,
        judges=(SceneJudge(reader=judge, data=told, num=100),) if judge else (),
        evaluate_every=evaluate_every,
        save_every=evaluate_every,
        samples=samples,
    )


SMOKE = dict(layers=1, features=4, batch=8, steps=4, evaluate_every=2, samples=0)
EXPECTED: dict[str, tuple[float, float]] = {}
