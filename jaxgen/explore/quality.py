"""How good the samples of a model are as a set, beside real images, and what a linear map reads off its codes.

Samples and images are compared by the features of a classifier of the same data, trained once (`Features`): a figure
belongs to that classifier, and is called after it, `FD[classifier_mnist]`, never FID. Beside each figure stands its
floor: the same of as many real images of another split, what a perfect sampler would reach.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import jax
import numpy as np
from jaxtyping import Float, UInt8

from jaxgen.core.capabilities import Features, Sampler, require
from jaxgen.core.errors import UsageError
from jaxgen.core.images import from_float, to_float
from jaxgen.core.model import Batch
from jaxgen.data.dataset import Dataset, Split, padded_batches, split_arrays, take
from jaxgen.explore.chunks import CHUNK
from jaxgen.explore.trained import Trained
from jaxgen.metrics.sets import METRICS, check_metrics, compared

MOST = 10_000
"""Images of either side, unless told otherwise."""


@dataclasses.dataclass(frozen=True)
class Quality:
    """Figures of `num` samples beside as many images of `split`, and their `floor`: those of as many images of the
    split `floor_of`, in samples' place. `dims` is the number of features."""

    figures: dict[str, float]
    floor: dict[str, float]
    num: int
    split: str
    floor_of: str
    dims: int


def quality(
    sampler: Trained,
    net: Trained,
    dataset: Dataset,
    metrics: Sequence[str] = tuple(METRICS),
    num: int | None = None,
    split: str = "test",
    seed: int = 0,
    chunk: int = CHUNK,
    progress: Callable[[int], None] | None = None,
) -> Quality:
    """The figures of `metrics.sets` of a model's samples beside images of a data set, both by the features of `net`.

    `num` images of either side, by default as many as both splits have and 10,000 at most, evenly spaced; a conditional
    model draws under the conditions of those images, so that labels have the data's proportions. `progress` is told how
    many of 4·num images are done: drawn, described, and described of either split.

    Raises `UsageError`, before anything is drawn, for a model that draws no images or gives no features, images that
    `net` cannot take, unknown metrics, and more or fewer images than there can be.
    """
    require(sampler.model, Sampler, "be judged by its samples")
    check_net(net, sampler.model.shape, sampler.model.levels)
    floor_of = other_split(dataset, split)
    num = most(dataset, (split, floor_of)) if num is None else num
    check_metrics(metrics, num)
    rows, others = (spaced(dataset, name, num) for name in (split, floor_of))
    done = 0

    def advance(count: int) -> None:
        if progress is not None:
            progress(done + count)

    real = seen(dataset, rows)
    condition = sampler.model.condition_of(real)
    samples = sampler.sample(num, seed, condition, chunk=chunk, progress=advance)
    described = []
    for image in (samples, real["image"], seen(dataset, others)["image"]):
        done += num
        described.append(features_of(net, image, sampler.model.levels, advance))
    figures, floor = (compared(x, described[1], metrics, seed) for x in (described[0], described[2]))
    return Quality(figures, floor, num, split, floor_of, described[0].shape[1])


def check_net(net: Trained, shape: tuple[int, ...], levels: int) -> None:
    """Raises `UsageError` unless the net gives features of images of this shape and these levels, which may be fewer
    than its own: a binary image is one in black and white to it."""
    model = require(net.model, Features, "give features of images")
    if tuple(shape) != tuple(model.shape) or levels > model.levels:
        sides = ("×".join(map(str, size)) for size in (model.shape, shape))
        raise UsageError(
            f"{type(model).__name__} gives features of {next(sides)} images of {model.levels} levels, but these are "
            f"{next(sides)} of {levels}: take features of a classifier that was trained on such images."
        )


def features_of(
    net: Trained, image: UInt8[np.ndarray, "b h w c"], levels: int, progress: Callable[[int], None] | None = None
) -> Float[np.ndarray, "b d"]:
    """The net's features of images of so many levels, in float64; fewer levels than its own are spread over them."""
    return net.features(at_levels_of(net, image, levels), progress).astype(np.float64)


def at_levels_of(net: Trained, image: UInt8[np.ndarray, "b h w c"], levels: int) -> UInt8[np.ndarray, "b h w c"]:
    """Images of so many levels as ones of the net's, over which fewer are spread."""
    most_levels = net.model.levels
    if levels == most_levels:
        return image
    return np.asarray(from_float(to_float(np.arange(levels, dtype=np.uint8), levels), most_levels))[image]


def other_split(dataset: Dataset, split: str) -> str:
    """The split whose images stand in for samples: "train", or for that itself "test", else "valid". Raises
    `UsageError` where there is no such split."""
    splits = dataset.splits()
    if split not in splits:
        raise UsageError(f"{dataset.name} has no split {split!r}; it has {', '.join(splits)}.")
    return "train" if split != "train" else "test" if "test" in splits else "valid"


def most(dataset: Dataset, splits: Sequence[str]) -> int:
    """How many images all of these splits have, 10,000 at most."""
    return min(MOST, *(len(dataset.splits()[name]) for name in splits))


def spaced(dataset: Dataset, split: str, num: int) -> Split:
    """`num` examples of a split, evenly spaced: files are often sorted. Raises `UsageError` where it has fewer."""
    count = len(dataset.splits()[split])
    if not 1 <= num <= count:
        raise UsageError(f"{split} of {dataset.name} has {count:,} images, got {num:,}: give 1 to {count:,}.")
    return take(dataset.splits()[split], np.linspace(0, count - 1, num).astype(int))


def seen(dataset: Dataset, split: Split) -> Batch:
    """Examples as a model sees them in evaluation, under the data's transform: taken in pieces, kept on the host."""
    if dataset.transform is None:
        return split_arrays(split)
    program, pieces = jax.jit(dataset.transform, static_argnums=2), []
    for number, (data, valid) in enumerate(padded_batches(split, 1000)):
        piece = program(data, jax.random.fold_in(jax.random.key(0), number), False)
        pieces.append({name: np.asarray(array)[valid] for name, array in piece.items()})
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
