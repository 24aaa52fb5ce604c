"""Sentences about images as numbers, which a model can be told: of one sentence for each image, or of several."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from jaxgen.core.errors import UsageError
from jaxgen.core.model import Batch
from jaxgen.data.dataset import Dataset, Source, Split
from jaxgen.data.transforms import chained
from jaxgen.data.vocabulary import END, Vocabulary


def captioned(source: Source, words: int = 2000, length: int = 28, vocabulary: Vocabulary | None = None) -> Source:
    """Images with their "sentence", lines of text [n] or several of each image [n,k], get "words", int32[n,length] or
    int32[n,k,length], by a vocabulary of the `words` most frequent ones in training, or by the one that is given.

    Of several, training draws one at each use, and evaluation takes the first. How many sentences are cut at `length`,
    and how many words are unknown, stands in the protocol. Raises `UsageError` for data without sentences.

    >>> from jaxgen.data.scenes import scenes
    >>> data = captioned(scenes(num=100)).load()
    >>> data.train["words"].shape, data.vocabulary.sentence(data.train["words"][0])
    ((90, 28), 'at the top is a small yellow triangle on white')
    """
    for name, value, least in (("words", words, 1), ("length", length, 2)):
        if value < least:
            raise UsageError(f"captioned: {name} must be at least {least}, got {value}.")

    def load() -> Dataset:
        data = source.load()
        sentences = {split: _sentences(part, data.name) for split, part in data.splits().items()}
        known = vocabulary or Vocabulary.of((str(line) for line in sentences["train"].ravel()), words)
        parts: dict[str, Any] = {}
        told = []
        for split, lines in sentences.items():
            rows = known.rows([str(line) for line in lines.ravel()], length)
            parts[split] = data.splits()[split].replaced(words=rows.words.reshape(*lines.shape, length))
            told.append(f"{split}: {rows}")
        if sentences["train"].ndim == 2:
            parts["transform"] = chained(data.transform, _one_of_several)
        protocol = f"{data.protocol}; {len(known.words):,} words known; {'; '.join(told)}"
        return dataclasses.replace(data, protocol=protocol, vocabulary=known, **parts)

    return Source(f"{source.name} (sentences)", load)


def with_vectors(source: Source, of: Callable[[Dataset], Callable[[np.ndarray], np.ndarray]], what: str) -> Source:
    """Data with "words", one sentence for each image, get "condition", a vector of each: `of` the data gives what
    makes vectors float32[n,d] of words.

    Raises `UsageError` for data without words, and with several sentences for each image.
    """

    def load() -> Dataset:
        data = source.load()
        if any("words" not in split or split["words"].ndim != 2 for split in data.splits().values()):
            raise UsageError(f"{data.name}: vectors are made of one sentence for each image: give data of that kind.")
        vectors = of(data)
        splits = {name: split.replaced(condition=vectors(split["words"])) for name, split in data.splits().items()}
        return dataclasses.replace(data, protocol=f"{data.protocol}; {what}", **splits)  # type: ignore[arg-type]

    return Source(f"{source.name} ({what})", load)


def bags_of_words(source: Source, size: int) -> Source:
    """Data with "words" get as "condition", float32[n,size], how often each word is in the sentence, whatever their
    order. `size` is above the numbers of all words.

    >>> from jaxgen.data.scenes import scenes
    >>> data = bags_of_words(captioned(scenes(num=100)), 50).load()
    >>> data.train["sentence"][4].split().count("a") == data.train.condition[4, data.vocabulary.numbers("a")[0]]
    np.True_
    """

    def bags(words: np.ndarray) -> np.ndarray:
        return np.stack([np.bincount(row[row > END], minlength=size) for row in words]).astype(np.float32)

    return with_vectors(source, lambda data: bags, "bags of words")


def _sentences(split: Split, name: str) -> np.ndarray:
    """The lines of text of a split, [n] or [n,k]."""
    if "sentence" not in split or split["sentence"].dtype.kind not in "US" or split["sentence"].ndim > 2:
        arrays = ", ".join(f"'{n}' {a.dtype}{list(a.shape)}" for n, a in split.items())
        raise UsageError(
            f"{name}: wanted a sentence for each image, or several, as text in an array 'sentence', found {arrays}: "
            "give an .npz with train_sentence, or scenes."
        )
    sentence = split["sentence"]
    return np.char.decode(sentence, "utf-8") if sentence.dtype.kind == "S" else sentence


def _one_of_several(batch: Batch, key: Key[Array, ""], train: bool) -> Batch:
    """One of an image's sentences; the first in evaluation."""
    words = batch["words"]
    if not train:
        return {**batch, "words": words[:, 0]}
    chosen = jax.random.randint(key, (len(words), 1, 1), 0, words.shape[1])
    return {**batch, "words": jnp.take_along_axis(words, chosen, axis=1)[:, 0]}
