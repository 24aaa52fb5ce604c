"""What happens to a batch inside the compiled step, and what happens once on loading: fewer levels, fewer labels.

Each function takes a `Source` and gives a new one; nothing is read until its `load()`. Draws come from the batch's
key, one number per sub-pixel or image of the global batch, so that a run does not depend on the number of devices.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from jaxgen.core import images
from jaxgen.core.checks import check_seed
from jaxgen.core.conditions import UNLABELLED
from jaxgen.core.errors import UsageError
from jaxgen.core.model import Batch
from jaxgen.data.dataset import Dataset, Source, Split, Transform, permutation, take


def dynamic_binarization(source: Source) -> Source:
    """Binary images drawn anew at each use: a sub-pixel is 1 with its intensity (0 … 1) as probability.

    Training and evaluation both draw with the key that they are given: the likelihood of this protocol is an
    expectation over the draw.
    """

    def binarize(levels: int) -> Transform:
        def transform(batch: Batch, key: Key[Array, ""], train: bool) -> Batch:
            image = batch["image"]
            uniform = jax.random.uniform(key, image.shape)
            return {**batch, "image": (uniform * (levels - 1) < image).astype(jnp.uint8)}

        return transform

    def change(data: Dataset) -> Dataset:
        return dataclasses.replace(
            data,
            levels=2,
            transform=chained(data.transform, binarize(data.levels)),
            protocol=f"{data.protocol}; dynamic binarisation, drawn at training and at evaluation",
        )

    return _changed(source, "dynamic", change)


def flipped(source: Source) -> Source:
    """Each training image is mirrored left to right with probability one half, together with its maps (what it is
    conditioned on, masks, targets); evaluation sees it as it is."""

    def flip(batch: Batch, key: Key[Array, ""], train: bool) -> Batch:
        if not train:
            return batch
        mirror = jax.random.bernoulli(key, 0.5, (batch["image"].shape[0], 1, 1, 1))
        size = batch["image"].shape[1:3]
        planes = {n: a for n, a in batch.items() if a.ndim == 4 or (a.ndim == 3 and a.shape[1:] == size)}
        sides = {n: mirror if a.ndim == 4 else mirror[..., 0] for n, a in planes.items()}
        return {**batch, **{n: jnp.where(sides[n], a[:, :, ::-1], a) for n, a in planes.items()}}

    def change(data: Dataset) -> Dataset:
        protocol = f"{data.protocol}; training images flipped left to right at random"
        return dataclasses.replace(data, transform=chained(data.transform, flip), protocol=protocol)

    return _changed(source, "flipped", change)


def requantised(source: Source, levels: int) -> Source:
    """Fewer levels, by equal bins (`images.requantise`), applied to the arrays on loading.

    Raises `UsageError` for fewer than 2 or more than the data's levels, and after a transform that draws.

    >>> from jaxgen.data import digits
    >>> data = requantised(digits(), 4).load()
    >>> data.levels, int(data.train.image.max())
    (4, 3)
    """

    def change(data: Dataset) -> Dataset:
        if not 2 <= levels <= data.levels:
            raise UsageError(f"{data.name}: requantised wants 2 to {data.levels} levels, got {levels}")
        if data.transform is not None:
            raise UsageError(f"{data.name}: requantise before anything is drawn, as in flipped(requantised(source, 8))")
        table = images.requantise(np.arange(data.levels), data.levels, levels)

        def convert(split: Split) -> Split:
            return split.replaced(image=table[split.image])

        return dataclasses.replace(
            data,
            levels=levels,
            train=convert(data.train),
            valid=convert(data.valid),
            test=None if data.test is None else convert(data.test),
            protocol=f"{data.protocol}; requantised to {levels} levels",
        )

    return _changed(source, f"{levels} levels", change)


def labelled(source: Source, num: int, seed: int = 0) -> Source:
    """Training images are `num` labelled ones alone, drawn by the seed, as many of each class (the first classes one
    more where it does not divide); validation and test stay whole. Of the same seed, fewer are among more.

    Raises `UsageError` for data without labels, for fewer images than classes, and for more than there are.

    >>> from jaxgen.data import digits
    >>> np.bincount(labelled(digits(), 25).load().train.label).tolist()
    [3, 3, 3, 3, 3, 2, 2, 2, 2, 2]
    """
    check_seed(seed)

    def change(data: Dataset) -> Dataset:
        protocol = f"{data.protocol}; {num} labelled training images, as many of each class, draw {seed}"
        return dataclasses.replace(data, train=take(data.train, _balanced(data, num, seed)), protocol=protocol)

    return _changed(source, f"{num} labels, draw {seed}", change)


def by_attribute(source: Source, name: str, above: int = 0) -> Source:
    """Labels are 1 where the array `name` of a split is above a number, and 0 elsewhere: by default whether an
    attribute is there, of which 0 says that it is not.

    Raises `UsageError` for data without that array, one that is no whole number for each image, and an attribute that
    all images of training have, or none.

    >>> from jaxgen.data import digits
    >>> np.bincount(by_attribute(digits(), "label").load().test.label).tolist()
    [38, 322]
    """

    def change(data: Dataset) -> Dataset:
        def convert(split: Split) -> Split:
            values = split.arrays.get(name)
            if values is None or values.ndim != 1 or values.dtype.kind not in "iub":
                held = ", ".join(f"{n} {array.dtype}{[*array.shape[1:]]}" for n, array in split.items())
                raise UsageError(
                    f"{data.name}: wanted an array {name!r} with a whole number for each image, found {held}."
                )
            return split.replaced(label=(values > above).astype(np.int32))

        train = convert(data.train)
        if len(np.unique(train["label"])) < 2:
            raise UsageError(
                f"{data.name}: {name!r} is above {above} in all training images or none, and tells nothing."
            )
        return dataclasses.replace(
            data,
            train=train,
            valid=convert(data.valid),
            test=None if data.test is None else convert(data.test),
            protocol=f"{data.protocol}; labels: whether {name} is above {above}",
        )

    return _changed(source, f"by {name}", change)


def partly_labelled(source: Source, num: int, seed: int = 0) -> Source:
    """All training images, `num` of them with labels, the same as `labelled` draws; the labels of the others are −1,
    and validation and test stay whole. In training each image has one of the labelled beside it, drawn anew at each
    use: "labelled_image", with its "labelled_label".

    Raises `UsageError` as `labelled` does, and after a transform that draws.

    >>> from jaxgen.data import digits
    >>> (partly_labelled(digits(), 25).load().train.label >= 0).sum().item()
    25
    """
    check_seed(seed)

    def change(data: Dataset) -> Dataset:
        if data.transform is not None:
            raise UsageError(f"{data.name}: take away labels before anything is drawn, of the source itself.")
        index = _balanced(data, num, seed)
        few = take(data.train, index)
        label = np.full(len(data.train), UNLABELLED, np.int32)
        label[index] = few["label"]

        def accompanied(batch: Batch, key: Key[Array, ""], train: bool) -> Batch:
            if not train:
                return batch
            drawn = jax.random.randint(key, batch["label"].shape, 0, num)
            beside = {f"labelled_{name}": jnp.asarray(few[name])[drawn] for name in ("image", "label")}
            return {**batch, **beside}

        protocol = f"{data.protocol}; {num} training images with labels, as many of each class, draw {seed}"
        return dataclasses.replace(
            data, train=data.train.replaced(label=label), transform=accompanied, protocol=protocol
        )

    return _changed(source, f"{num} of all labels, draw {seed}", change)


def _balanced(data: Dataset, num: int, seed: int) -> np.ndarray:
    """Sorted indices of `num` training images, as many of each class."""
    label = data.train.label
    if label is None:
        raise UsageError(f"{data.name}: wanted {num} labelled training images, but these data have no labels.")
    classes = np.unique(label)
    if not len(classes) <= num <= len(label):
        raise UsageError(
            f"{data.name}: wanted from {len(classes)} labelled images, one of each class, to all {len(label)} "
            f"training images, got {num}."
        )
    index = []
    for i, value in enumerate(classes):
        members = np.flatnonzero(label == value)
        share = num // len(classes) + (i < num % len(classes))
        if share > len(members):
            least = np.unique(label, return_counts=True)[1].min()
            raise UsageError(
                f"{data.name}: {num} labelled images are {share} of class {value}, which has {len(members)}: give "
                f"{len(classes) * least}, say."
            )
        index.append(members[permutation(len(members), seed, i)[:share]])
    return np.sort(np.concatenate(index))


def _changed(source: Source, what: str, change: Callable[[Dataset], Dataset]) -> Source:
    return Source(f"{source.name} ({what})", lambda: change(source.load()))


def chained(first: Transform | None, second: Transform) -> Transform:
    """Both transforms, one after the other, each with a key of its own; the second where there is no first."""
    if first is None:
        return second

    def both(batch: Batch, key: Key[Array, ""], train: bool) -> Batch:
        one, two = jax.random.split(key)
        return second(first(batch, one, train), two, train)

    return both
