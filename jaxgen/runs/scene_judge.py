"""What of the sentences of scenes is in the pictures drawn by them, as a run of `scenes_reader` reads it: a judge of
samples for a recipe, and the same figures of any run beside their chance and their ceiling."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from jaxtyping import Int, UInt8

from jaxgen.core.capabilities import Attributes, Sampler, require
from jaxgen.core.conditions import array_of
from jaxgen.core.errors import UsageError
from jaxgen.core.judges import Judge
from jaxgen.data.dataset import Dataset, Source, Split
from jaxgen.data.scene_sentences import ATTRIBUTES, kind_of, said
from jaxgen.explore.chunks import CHUNK
from jaxgen.explore.quality import at_levels_of, check_net
from jaxgen.explore.trained import Trained
from jaxgen.metrics.agreement import agreement, chance
from jaxgen.runs.folder import read_run
from jaxgen.runs.load import Run, opened

KINDS: dict[str, list[int]] = {
    kind: [number for number, name in enumerate(ATTRIBUTES) if kind_of(name) == kind]
    for kind in ("shape", "colour", "place", "size", "background")
}
"""The columns of the attributes that figures are told of."""

FIGURES = ("attributes", *KINDS, "everything")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SceneJudge(Judge):
    """Percent of what validation sentences ask for that the run whose folder is `reader` reads off samples drawn by
    them. `data` are the recipe's, whose first sentences the samples were drawn by, of whatever kind the condition is.

    `Recipe(judges=(SceneJudge(reader="runs/scenes_reader", data=data, num=500),))` tells "attributes[scenes_reader]",
    which decides, and the same of shapes, colours, places, sizes and backgrounds alone, and "everything[…]", the share
    of pictures without a fault. A perfect sampler would reach what the reader reads off real scenes (`compared`).
    """

    reader: str
    data: Source

    @property
    def figures(self) -> Mapping[str, Literal["lower", "higher"]]:
        return {self._named(name): "higher" for name in FIGURES}

    def _named(self, figure: str) -> str:
        return f"{figure}[{Path(self.reader).name}]"

    def check(self, shape: tuple[int, ...], levels: int) -> None:
        """Raises `UsageError` where the run reads no attributes of such images, and for sentences of no scenes."""
        check_net(_reader(self.reader), shape, levels)
        _asked_of(self.data)

    def judge(
        self, image: UInt8[np.ndarray, "num h w c"], real: UInt8[np.ndarray, "n h w c"], levels: int, condition: Any
    ) -> Mapping[str, float]:
        asked = _asked_of(self.data)
        figures = agreement(
            reading(_reader(self.reader), image, levels), asked[np.arange(len(image)) % len(asked)], KINDS
        )
        return {self._named(name): value for name, value in figures.items()}


def compared(sampler: Run, reader: Run, dataset: Dataset, num: int, seed: int = 0) -> dict[str, dict[str, float]]:
    """The figures of a run's pictures by the first `num` test sentences, and by their names those of the real scenes of
    these sentences, the "ceiling", and of real scenes of other sentences, the "chance".

    Raises `UsageError` for a run that draws nothing, or knows other sizes than the reader.
    """
    model = require(sampler.model, Sampler, "draw scenes")
    split = dataset.valid if dataset.test is None else dataset.test
    num = min(num, len(split))
    asked, real = asked_for(split)[:num], np.asarray(split.image[:num])
    if model.condition is None or array_of(model.condition) not in split:
        raise UsageError(
            f"{type(model).__name__} of {sampler.folder} is told nothing of these scenes: judge another run."
        )
    sampler.check(dataset.shape, dataset.levels, dataset.name)
    image = sampler.sample(num, seed, split[array_of(model.condition)][:num])
    seen = reading(reader, real, dataset.levels)
    return {
        "samples": agreement(reading(reader, image, model.levels), asked, KINDS),
        "ceiling": agreement(seen, asked, KINDS),
        "chance": chance(seen, asked, KINDS),
    }


def asked_for(split: Split) -> Int[np.ndarray, "n a"]:
    """The attributes that the sentences of a split tell. Raises `UsageError` where these are of no scenes."""
    if "sentence" not in split or split["sentence"].ndim != 1:
        raise UsageError("attributes are read for data with a sentence for each image, as scenes: these have none.")
    return np.stack([said(str(sentence)) for sentence in split["sentence"]])


def reading(reader: Trained, image: UInt8[np.ndarray, "n h w c"], levels: int) -> Int[np.ndarray, "n a"]:
    """The attributes that a run reads off images of so many levels."""
    image = at_levels_of(reader, image, levels)
    program = _reads(reader)
    parts = [np.asarray(program(reader.variables, padded(image[i : i + CHUNK]))) for i in range(0, len(image), CHUNK)]
    return np.concatenate(parts)[: len(image)]


def padded(image: np.ndarray) -> np.ndarray:
    """Images with the first again and again behind them, up to a whole chunk: one program reads all."""
    return image[np.minimum(np.arange(CHUNK), len(image) - 1)]


def open_reader(folder: str | Path) -> Run:
    """The run of a model that reads the attributes of scenes. Raises `UsageError` for another."""
    run = opened(read_run(folder))
    model = require(run.model, Attributes, "read the attributes of scenes")
    if model.attributes != tuple((name, len(values)) for name, values in ATTRIBUTES.items()):
        raise UsageError(f"{folder} reads other attributes than those of scenes: give a run of scenes_reader.")
    return run


@functools.lru_cache(maxsize=4)
def _reads(reader: Trained) -> Any:
    return jax.jit(reader.model.read)


@functools.lru_cache(maxsize=1)
def _reader(folder: str) -> Run:
    return open_reader(folder)


@functools.lru_cache(maxsize=1)
def _asked_of(data: Source) -> Int[np.ndarray, "n a"]:
    return asked_for(data.load().valid)
