"""SkipThought on ordered sentences. 1506.06726: no nats are published. Ours: not run yet.

A sentence is encoded as a vector from which two decoders tell the sentences before and after it. Data are little
stories made here, or any text: a file, or a folder of them of which the last is held out. The nets are smaller than the
paper's, whose word vectors have 620 numbers, and encoder and decoders 2400 (`--preset paper`, on a GPU); as there
batches are of 128 and gradients clipped to a norm of 10, by Adam.

Protocol: nats per word of both neighbours, ends included, of the last text, or of the last tenth of a single one; words
that are not among the most frequent in training count as one word, and sentences are cut at a length.

    jaxgen train skipthought --data text:FOLDER
    jaxgen embed-text RUN FILE
"""

import optax

from jaxgen import Recipe
from jaxgen.data.source import source
from jaxgen.engine.optimizers import warmup_cosine
from jaxgen.models.text.skipthought import SkipThought


def recipe(
    data: str = "stories",  # or text:FILE, text:FOLDER, and behind it ,layout=paragraphs for running text
    words: int = 8000,  # the most frequent of the training texts
    length: int = 30,  # words of a sentence at most
    embedding: int = 200,  # numbers of a word's vector
    features: int = 400,  # numbers of a sentence's vector
    decoder_features: int = 240,
    two_way: bool = False,  # half of the vector is read backwards
    batch: int = 64,
    steps: int = 8000,
    lr: float = 1e-3,
    warmup: int = 200,
    ema: float = 0.999,
    evaluate_every: int = 1000,
) -> Recipe:
    nets = dict(embedding=embedding, features=features, decoder_features=decoder_features, two_way=two_way)
    return Recipe(
        data=source(f"{data},words={words},length={length}"),
        model=SkipThought(words=words + 3, **nets),
        optimizer=optax.adam(warmup_cosine(lr, steps, warmup)),
        batch=batch,
        steps=steps,
        ema=ema,
        clip=10.0,
        samples=8,
        evaluate_every=evaluate_every,
        save_every=evaluate_every,
    )


SMOKE = dict(
    data="stories,num=40",
    words=80,
    length=12,
    embedding=4,
    features=6,
    decoder_features=5,
    batch=8,
    steps=4,
    warmup=1,
    evaluate_every=2,
)
PRESETS = {
    "stories": dict(
        words=80, length=16, embedding=50, features=200, decoder_features=200, steps=2000, evaluate_every=500
    ),
    "paper": dict(words=20_000, embedding=620, features=2400, decoder_features=2400, batch=128, steps=100_000),
}
EXPECTED = {}
