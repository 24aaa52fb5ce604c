"""What a model draws by sentences: the same codes under several, what lies between two, and the style of other images
under new words. Sentences are numbers of words, int32[n,length], as `Vocabulary.rows` makes them."""

from __future__ import annotations

import itertools

import jax
import numpy as np
from jaxtyping import Float, Int, UInt8

from jaxgen.core.capabilities import Encoder, TextConditional, require
from jaxgen.core.errors import UsageError
from jaxgen.explore.trained import Trained

Words = Int[np.ndarray, "n length"]
Rows = UInt8[np.ndarray, "_ k h w c"]


def text_vectors(run: Trained, words: Words) -> Float[np.ndarray, "n d"]:
    """The vector of each sentence. Raises `UsageError` for a model that is told none."""
    model = require(run.model, TextConditional, "draw by a sentence")
    model.check_condition(words, len(words))
    return np.asarray(jax.jit(model.text_vectors)(run.variables, words))


def by_sentences(run: Trained, words: Words, num: int, seed: int = 0) -> Rows:
    """A row of `num` images for each sentence, with the same code in each column."""
    return _rows(run, text_vectors(run, words), run.prior(num, seed))


def between_sentences(run: Trained, words: Words, steps: int, num: int, seed: int = 0) -> Rows:
    """A row of `num` images for each of `steps` vectors, evenly spaced on the straight way from each sentence to the
    next, both ends included: (n − 1)·(`steps` − 1) + 1 rows, with the same code in each column.

    Raises `UsageError` for fewer than two sentences or steps.
    """
    if len(words) < 2 or steps < 2:
        raise UsageError(f"what lies between sentences wants two of them and two steps, got {len(words)} and {steps}.")
    ends = text_vectors(run, words)
    ways = [a + t * (b - a) for a, b in itertools.pairwise(ends) for t in np.linspace(0.0, 1.0, steps)[:-1]]
    return _rows(run, np.stack([*ways, ends[-1]]).astype(np.float32), run.prior(num, seed))


def restyled(run: Trained, words: Words, image: UInt8[np.ndarray, "k h w c"]) -> Rows:
    """A row for each sentence, drawn by the codes that the images have: their style, and what the words say.

    Raises `UsageError` for a model that encodes no images.
    """
    model = require(run.model, Encoder, "tell the style of an image")
    any_sentence = model.example_condition(len(image))  # style is what is there whatever was said
    return _rows(run, text_vectors(run, words), run.encode(image, any_sentence))


def _rows(run: Trained, vectors: Float[np.ndarray, "n d"], z: np.ndarray) -> Rows:
    codes = np.tile(z, (len(vectors), *(1 for _ in z.shape[1:])))
    image = run.decode(codes, vectors.repeat(len(z), axis=0))
    return image.reshape(len(vectors), len(z), *image.shape[1:])
