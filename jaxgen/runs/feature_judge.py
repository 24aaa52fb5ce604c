"""A classifier's run, opened where its accuracy is good enough, as judges of samples for a recipe: by its features, in
which sets of images are compared, and by its classes, which are held against those that samples were drawn under. A
file of weights of Inception gives features too (`runs.inception_file`)."""

from __future__ import annotations

import dataclasses
import functools
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, UInt8

from jaxgen.core.capabilities import Classifier, Features, require
from jaxgen.core.errors import UsageError
from jaxgen.core.judges import Judge
from jaxgen.data.dataset import Split
from jaxgen.engine.evaluate import evaluate
from jaxgen.explore.chunks import CHUNK
from jaxgen.explore.quality import at_levels_of, check_net, features_of
from jaxgen.explore.trained import Trained
from jaxgen.metrics.sets import METRICS, check_metrics, compared
from jaxgen.runs.folder import read_object, read_run
from jaxgen.runs.inception_file import digest, inception, is_weights
from jaxgen.runs.load import Run, opened

LEAST_ACCURACY = 80.0
"""Percent of test images that a classifier tells right at least, before its features are trusted to tell images apart:
any decent net reaches it on the data sets here, none that was stopped early."""


def features_run(folder: str | Path, least_accuracy: float = LEAST_ACCURACY) -> Run:
    """The run of a model that gives features, at its best checkpoint.

    Raises `UsageError` for a run of another model, and for a classifier whose result is not there or tells of a test
    accuracy, in percent, below `least_accuracy`; 0 takes it as it is.
    """
    record = read_run(folder)
    run = opened(record)
    require(run.model, Features, "give features of images")
    if isinstance(run.model, Classifier) and least_accuracy > 0:
        accuracy = told_accuracy(record.folder)
        if accuracy is None or accuracy < least_accuracy:
            told = (
                f"tells {accuracy:.4g} % of test images" if accuracy is not None else "has no result with a test error"
            )
            raise UsageError(
                f"the classifier of {folder} {told}, and features are wanted of one that tells {least_accuracy:g} % or "
                "more: train it to its end, or better, or give a least accuracy of 0 to take it as it is."
            )
    return run


def features_net(name: str, shape: tuple[int, int, int], least_accuracy: float = LEAST_ACCURACY) -> Trained:
    """What gives features of images of a shape, from what a user names: a run as `features_run` takes it, or a file of
    weights of Inception."""
    return inception(name, shape) if is_weights(name) else features_run(name, least_accuracy)


def labelled(figure: str, features: str) -> str:
    """A figure's name with that of the features behind it: "fd[classifier_mnist]" after a run's folder, "fid[6726825d]"
    after the digest of a file of Inception's weights, of which alone the Fréchet distance is called so."""
    if not is_weights(features):
        return f"{figure}[{Path(features).name}]"
    return f"{'fid' if figure == 'fd' else figure}[{digest(features)}]"


def told_accuracy(folder: Path) -> float | None:
    """Percent of test images that a finished classifier tells right."""
    if not (folder / "result.json").is_file():
        return None
    error = read_object(folder, "result.json").get("metrics", {}).get("test/error")
    return None if error is None else 100.0 - error


@dataclasses.dataclass(frozen=True, kw_only=True)
class FeatureJudge(Judge):
    """Compares samples with validation images by the features of a classifier's run, whose folder is `features`, or of
    Inception with the weights of that file.

    `Recipe(judges=(FeatureJudge(features="runs/classifier_mnist", metrics=("fd",), num=5000),))` tells
    "fd[classifier_mnist]" at each evaluation, by the folder's name, which can decide the best checkpoint. The metrics
    are those of `metrics.sets`, `least_accuracy` is that of `features_run`.
    """

    features: str
    metrics: tuple[str, ...] = ("fd",)
    least_accuracy: float = LEAST_ACCURACY

    def __post_init__(self) -> None:
        super().__post_init__()
        check_metrics(self.metrics, self.num)

    @property
    def figures(self) -> Mapping[str, Literal["lower", "higher"]]:
        ways = {figure: way for metric in self.metrics for figure, way in METRICS[metric].figures.items()}
        return {self._named(figure): way for figure, way in ways.items()}

    def _named(self, figure: str) -> str:
        return labelled(figure, self.features)

    def check(self, shape: tuple[int, ...], levels: int) -> None:
        """Raises `UsageError` where there are no features of such images."""
        check_net(_net(self.features, self.least_accuracy, shape), shape, levels)

    def judge(
        self, image: UInt8[np.ndarray, "num h w c"], real: UInt8[np.ndarray, "n h w c"], levels: int, condition: Any
    ) -> Mapping[str, float]:
        samples = features_of(_net(self.features, self.least_accuracy, image.shape[1:]), image, levels)
        of_real = _features_of_real(self.features, self.least_accuracy, Checksummed(real), levels)
        figures = compared(samples, of_real, self.metrics)
        return {name: figures[figure] for figure in figures if (name := self._named(figure)) in self.figures}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassJudge(Judge):
    """Percent of samples that a classifier, whose run's folder is `classifier`, takes for the class that they were
    drawn under.

    `Recipe(judges=(ClassJudge(classifier="runs/classifier_mnist", num=1000),))` tells "accuracy[classifier_mnist]" of
    a model that is conditional on classes. A perfect sampler would reach the classifier's own test accuracy; one that
    draws the same image of a class again and again could as well, which a `FeatureJudge` would tell.
    """

    classifier: str
    least_accuracy: float = LEAST_ACCURACY

    @property
    def figures(self) -> Mapping[str, Literal["lower", "higher"]]:
        return {self._figure: "higher"}

    @property
    def _figure(self) -> str:
        return f"accuracy[{Path(self.classifier).name}]"

    def check(self, shape: tuple[int, ...], levels: int) -> None:
        """Raises `UsageError` where the run tells no classes of such images."""
        net = _net(self.classifier, self.least_accuracy, shape)
        require(net.model, Classifier, "tell the classes of samples")
        check_net(net, shape, levels)

    def judge(
        self, image: UInt8[np.ndarray, "num h w c"], real: UInt8[np.ndarray, "n h w c"], levels: int, condition: Any
    ) -> Mapping[str, float]:
        if condition is None or np.ndim(condition) != 1:
            raise UsageError(
                "ClassJudge holds samples against the classes that they were drawn under, and these were drawn under "
                "none: judge a model that is conditional on classes."
            )
        net = _net(self.classifier, self.least_accuracy, image.shape[1:])
        split = Split(at_levels_of(net, image, levels), np.asarray(condition, np.int32))
        error = evaluate(net.model, net.variables, split, mesh=net.mesh, batch=CHUNK)["error"]
        return {self._figure: 100.0 - error}


class Checksummed:
    """Images that are equal where their checksums are: the same real ones come at each evaluation."""

    def __init__(self, array: np.ndarray):
        self.array, self.checksum = array, zlib.crc32(np.ascontiguousarray(array).tobytes())

    def __hash__(self) -> int:
        return self.checksum

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Checksummed) and self.checksum == other.checksum


@functools.lru_cache(maxsize=1)
def _net(name: str, least_accuracy: float, shape: Any) -> Trained:
    return features_net(name, shape, least_accuracy)


@functools.lru_cache(maxsize=1)
def _features_of_real(folder: str, least_accuracy: float, real: Checksummed, levels: int) -> Float[np.ndarray, "n d"]:
    return features_of(_net(folder, least_accuracy, real.array.shape[1:]), real.array, levels)
