"""What a linear classifier reads off a model's representations of images, beside what it reads off their pixels.

Of a GAN's critic (1511.06434, §5.1) the maps behind each of its ReLUs are brought to 4×4 cells by the maximum and all
numbers stand side by side; an `Encoder` has its codes, a `Features` its features. Each is given to the same logistic
regression (`metrics.probes`), where the paper has a linear SVM. Beside them stand raw pixels, and chance: the share of
the class that most training images are of.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxgen.core.capabilities import Adversarial, Encoder, Features
from jaxgen.core.errors import UsageError
from jaxgen.core.images import to_float
from jaxgen.core.model import Batch, rows
from jaxgen.data.dataset import Dataset
from jaxgen.explore.chunks import in_chunks
from jaxgen.explore.features import Net, guided
from jaxgen.explore.quality import seen, spaced
from jaxgen.explore.trained import Trained
from jaxgen.metrics.probes import linear_probe

CELLS = 4
"""Rows and columns of cells that a critic's maps are brought to, as in the paper."""

MOST = 2000
"""Images that are fitted to, and as many that are told, unless told otherwise."""

Numbers = Float[np.ndarray, "b d"]


@dataclasses.dataclass(frozen=True)
class Probe:
    """Percent of `tested` images whose label is read off `dims` numbers of them."""

    percent: float
    dims: int
    tested: int

    @property
    def stderr(self) -> float:
        """The standard error of `percent`, of independent images."""
        return float(np.sqrt(self.percent * (100 - self.percent) / self.tested))


def pooled(x: Float[Array, "b h w c"], cells: int = CELLS) -> Float[Array, "b h2 w2 c"]:
    """The maximum of each of cells × cells parts of a map, which share their edges where they do not divide its sides;
    a map that is no larger stays as it is.

    >>> pooled(jnp.arange(9.0).reshape(1, 3, 3, 1), 2)[0, ..., 0].tolist()
    [[4.0, 5.0], [7.0, 8.0]]
    """
    for axis in (1, 2):
        side = x.shape[axis]
        if side > cells:
            ends = [(i * side // cells, -(-(i + 1) * side // cells)) for i in range(cells)]
            x = jnp.stack([jax.lax.slice_in_dim(x, a, b, axis=axis).max(axis=axis) for a, b in ends], axis=axis)
    return x


def critic_features(net: Net) -> Net:
    """The net that gives the pooled maps behind all ReLUs of a critic, [b, d]; of one without maps, its hidden layers.

    Raises `UsageError`, when it is called, for a net without a ReLU.
    """

    def features(x: Array) -> Float[Array, "b d"]:
        outputs = guided(net)(x)
        if not outputs:
            raise UsageError("a critic's features are read behind its ReLUs, and this one has none: take another one.")
        maps = [pooled(output) for output in outputs if output.ndim == 4] or outputs
        return jnp.concatenate([output.reshape(len(x), -1).astype(jnp.float32) for output in maps], axis=1)

    return features


def representations(run: Trained) -> dict[str, Callable[[Batch], Numbers]]:
    """What there is to read labels off, by name, as functions of a batch of examples; raw pixels come last.

    Raises `UsageError` for a model that represents images by nothing else.
    """
    model, known = run.model, {}

    def flat(x: Any) -> Numbers:
        return np.asarray(x, np.float32).reshape(len(x), -1)

    def by_critic(batch: Batch) -> Numbers:
        # Maps come before a condition: which one it is makes no difference to them.
        condition = None if model.condition is None else model.example_condition(1)

        def critic(x: Array) -> Array:
            scores: Array = model.critic_scores(
                run.variables, x, None if condition is None else np.repeat(condition, len(x), 0)
            )
            return scores

        program = jax.jit(critic_features(critic))
        return in_chunks(lambda some: program(some["x"]), {"x": to_float(batch["image"], model.levels)}, rows(batch))

    if isinstance(model, Adversarial):
        known["critic features"] = by_critic
    if isinstance(model, Encoder):
        known["codes"] = lambda batch: flat(run.encode(batch["image"], model.condition_of(batch)))
    if isinstance(model, Features):
        known["features"] = lambda batch: flat(run.features(batch["image"]))
    if not known:
        raise UsageError(
            f"{type(model).__name__} represents an image by nothing that a label could be read off: take a model with "
            "a critic, one that encodes images, or a classifier."
        )
    return {**known, "pixels": lambda batch: flat(to_float(batch["image"], model.levels))}


def probes(
    run: Trained, dataset: Dataset, num: int | None = None, tested: int | None = None, split: str = "test"
) -> dict[str, Probe]:
    """What a logistic regression, fitted to `num` training images, tells of `tested` of the split, by representation;
    "chance" comes last. Images are evenly spaced, and by default as many as there are, 2000 at most.

    Raises `UsageError` for a model without representations, data without labels, and more images than there are.
    """
    known = representations(run)
    counts = {name: min(MOST, len(dataset.splits()[name])) for name in ("train", split)}
    counts |= {name: count for name, count in (("train", num), (split, tested)) if count is not None}
    batches = [seen(dataset, spaced(dataset, name, count)) for name, count in counts.items()]
    if any("label" not in batch for batch in batches):
        raise UsageError(f"a linear probe reads labels, and {dataset.name} has none: give data with labels.")
    train, test = ((batch["label"], len(batch["label"])) for batch in batches)
    told = {}
    for name, of in known.items():
        codes, test_codes = (of(batch) for batch in batches)
        told[name] = Probe(linear_probe(codes, train[0], test_codes, test[0]), codes.shape[1], test[1])
    commonest = np.bincount(train[0]).argmax()
    return {**told, "chance": Probe(float(100 * np.mean(test[0] == commonest)), 0, test[1])}
