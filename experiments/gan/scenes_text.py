"""TextToImage on captioned scenes. 1605.05396: pictures, no figure. Ours: not run yet.

Draws what a sentence says: `jaxgen sample RUN --text "a small red circle above a blue square"`. The critic is
matching-aware (GAN-CLS) and the generator is also held to what lies between two sentences (GAN-INT); a GRU over words
learns along with the critic, or is that of a run of `skipthought`, frozen, with `--encoder RUN`. DCGAN nets, Adam 2e-4
with β1 = .5. Scenes are made by the library; `--data npz:FILE` with images and `sentence` trains on any others.

Protocol: a GAN has no likelihood; the figures are the pages of sentences and images in the run's folder and, with
`--judge` and the folder of a `scenes_reader` run, the percentage of attributes of validation sentences, such as shapes,
colours and places, that it reads back from samples; their mean decides the best checkpoint. What is drawn is the
averaged generator.

    jaxgen train scenes_reader
    jaxgen train scenes_text --judge runs/scenes_reader
"""

from typing import Any

import optax

from jaxgen import Graft, Recipe, model_of
from jaxgen.core.conditions import Text
from jaxgen.data.captions import captioned
from jaxgen.data.source import source
from jaxgen.models.gan.text_to_image import TextToImage
from jaxgen.runs.grafts import vocabulary_of
from jaxgen.runs.scene_judge import SceneJudge


def recipe(
    data: str = "scenes,num=20000",  # or any source or path of images with sentences
    size: int = 32,  # height and width of the images
    channels: int = 3,
    words: int = 2000,  # that are known, the most frequent of training
    length: int = 28,  # words of a sentence at most
    text_features: int = 128,  # numbers of a sentence's vector
    embedding: int = 64,  # numbers of a word's vector
    encoder: str = "",  # a run of skipthought, whose words and frozen sentence vectors take the place of the above
    features: int = 32,  # width of the nets
    latent: int = 32,
    interpolated: bool = True,  # INT: also sentences halfway between two
    spectral: bool = False,
    batch: int = 64,
    steps: int = 30_000,
    lr: float = 2e-4,
    ema: float = 0.999,  # of the generator that is drawn from, 0: the last one
    judge: str = "",  # a run of scenes_reader, which says what of the sentences is in samples
    evaluate_every: int = 1000,
) -> Recipe:
    knobs: dict[str, Any] = dict(condition=Text(words + 3, length, text_features), embedding=embedding)
    grafts: tuple[Graft, ...] = ()
    if encoder:
        of: Any = model_of(encoder)
        knobs = dict(condition=Text(of.words, length, of.features), embedding=of.embedding, two_way=of.two_way)
        knobs |= {"frozen": True}
        grafts = (Graft(run=encoder, take="params/encoder", put="frozen/text"),)
    images = captioned(source(data), words, length, vocabulary_of(encoder) if encoder else None)
    return Recipe(
        data=images,
        model=TextToImage(
            shape=(size, size, channels),
            levels=256,
            features=features,
            latent=latent,
            interpolated=interpolated,
            spectral=spectral,
            **knobs,
        ),
        optimizer=optax.adam(lr, b1=0.5),
        batch=batch,
        steps=steps,
        ema=ema,
        grafts=grafts,
        judges=(SceneJudge(reader=judge, data=images, num=500),) if judge else (),
        evaluate_every=evaluate_every,
        save_every=evaluate_every,
    )


SMOKE = dict(words=60, text_features=4, embedding=3, features=1, latent=4, batch=8, steps=2, evaluate_every=2)
EXPECTED: dict[str, tuple[float, float]] = {}
