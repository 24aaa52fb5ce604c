"""What a model of sentences shows: their vectors, which are near to each other, what is told of those between two, and
words that it was never trained on (1506.06726, §2.2)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jaxgen.core.errors import UsageError
from jaxgen.core.model import Variables
from jaxgen.data.vocabulary import Vocabulary
from jaxgen.explore.chunks import in_chunks


def sentence_vectors(
    model: Any, variables: Variables, words: Int[np.ndarray, "n t"], progress: Callable[[int], None] | None = None
) -> Float[np.ndarray, "n d"]:
    """The vector of each row of words."""
    program = _encoding(model)
    return in_chunks(lambda rows: program(variables, rows["words"]), {"words": words}, len(words), progress=progress)


@functools.lru_cache(maxsize=8)
def _encoding(model: Any) -> Callable[..., Any]:
    return jax.jit(model.encode_words)


def nearest_sentences(
    query: Float[np.ndarray, "m d"], vectors: Float[np.ndarray, "n d"], num: int
) -> tuple[Int[np.ndarray, "m k"], Float[np.ndarray, "m k"]]:
    """Of each query the places of the `num` vectors with the largest cosine, and these, the nearest first.

    >>> nearest_sentences(np.array([[1.0, 0.0]]), np.array([[0.0, 2.0], [3.0, 3.0], [1.0, 0.0]]), 2)[0].tolist()
    [[2, 1]]
    """
    query, vectors = (x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12) for x in (query, vectors))
    cosine = query @ vectors.T
    places = np.argsort(-cosine, axis=1, kind="stable")[:, :num]
    return places, np.take_along_axis(cosine, places, axis=1)


def between(
    model: Any, variables: Variables, ends: Float[np.ndarray, "2 d"], num: int, length: int
) -> dict[str, Int[np.ndarray, "num t"]]:
    """What the model tells to stand before and after the sentence at each of `num` vectors on the straight way from one
    to the other, ends included: words, greedily, by "before" and "after"."""
    t = np.linspace(0.0, 1.0, num, dtype=np.float32)[:, None]
    way = jnp.asarray((1 - t) * ends[0] + t * ends[1])
    tell = jax.jit(model.tell, static_argnums=(2, 3))
    return {name: np.asarray(tell(variables, way, name, length)) for name in ("before", "after")}


def expanded(
    variables: Variables, vocabulary: Vocabulary, words: Sequence[str], vectors: Float[np.ndarray, "n d"]
) -> tuple[Variables, Vocabulary, float]:
    """Variables and vocabulary with all of these words: the linear map that takes the given vectors of words that the
    model knows nearest to its own, by least squares, takes those of the others into its space.

    The last number is how much of the model's own vectors the map explains (R², 1 for all). Only the encoder reads the
    new words: `tell` knows those of training. Raises `UsageError` where fewer words are known to both than a vector has
    numbers, so that the map is not determined.
    """
    known = [i for i, word in enumerate(words) if word in vocabulary]
    fresh = [i for i, word in enumerate(words) if word not in vocabulary]
    if len(known) < max(2, vectors.shape[1]):
        raise UsageError(
            f"of {len(words):,} words with vectors the model knows {len(known)}, and a linear map from vectors of "
            f"{vectors.shape[1]} numbers wants at least {max(2, vectors.shape[1])}: give more words, or narrower "
            "vectors."
        )
    table = np.asarray(variables["params"]["encoder"]["embedding"])[: len(vocabulary)]
    numbers = np.array([vocabulary.numbers(words[i])[0] for i in known])
    own, x = table[numbers].astype(np.float64), vectors[known].astype(np.float64)
    to_own = np.linalg.lstsq(x, own, rcond=None)[0]
    explained = 1 - ((own - x @ to_own) ** 2).sum() / ((own - own.mean(axis=0)) ** 2).sum()
    rows = (vectors[fresh].astype(np.float64) @ to_own).astype(np.float32)
    params = dict(variables["params"])
    params["encoder"] = {**params["encoder"], "embedding": jnp.concatenate([table, rows])}
    wider = Vocabulary((*vocabulary.words, *(words[i] for i in fresh)))
    return {**variables, "params": params}, wider, float(explained)
