"""How many of the thousand modes of StackedMNIST samples have, as a judge for a recipe: the digit in each channel is
read by a classifier's run."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Integer, UInt8

from jaxgen.core.capabilities import Classifier, require
from jaxgen.core.errors import UsageError
from jaxgen.core.judges import Judge
from jaxgen.explore.quality import at_levels_of, check_net
from jaxgen.explore.trained import Trained
from jaxgen.metrics.modes import STACKED, stacked_modes
from jaxgen.runs.feature_judge import LEAST_ACCURACY, Checksummed, features_run, told_accuracy


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModesJudge(Judge):
    """Counts the modes of stacked digits, and their KL to equal shares (`metrics.modes.stacked_modes`), as a classifier
    of grey digits reads them, whose run's folder is `classifier`.

    `Recipe(judges=(ModesJudge(classifier="runs/classifier_mnist", num=26_000),))` tells "kl[classifier_mnist]", which
    can decide the best checkpoint, and "modes[…]"; beside them "floor_kl[…]" and "floor_modes[…]", the same of as many
    stacks of real digits; and where the classifier's result is there "accuracy[…]", the percentage of real stacks of
    which it reads all three digits right, the cube of its share of test images. The papers judge 26,000 samples
    (1712.04086, 1901.08508); KL falls with their number, to that of the floor at best.
    """

    classifier: str
    num: int = 26_000
    least_accuracy: float = LEAST_ACCURACY

    @property
    def figures(self) -> Mapping[str, Literal["lower", "higher"]]:
        ways = {self._named(figure): way for figure, way in STACKED.items()}
        return ways | ({} if self._accuracy is None else {self._named("accuracy"): "higher"})

    @property
    def _accuracy(self) -> float | None:
        accuracy = told_accuracy(Path(self.classifier))
        return None if accuracy is None else 100.0 * (accuracy / 100.0) ** 3

    def _named(self, figure: str) -> str:
        return f"{figure}[{Path(self.classifier).name}]"

    def check(self, shape: tuple[int, ...], levels: int) -> None:
        """Raises `UsageError` unless images have three channels, each of which the run reads as one of ten digits."""
        if shape[2] != 3:
            raise UsageError(
                f"ModesJudge reads a digit in each of three channels, got images with {shape[2]}: judge a model of "
                "StackedMNIST, `--data stacked_mnist:DATA`."
            )
        net = _net(self.classifier, self.least_accuracy)
        model = require(net.model, Classifier, "read the digits of samples")
        check_net(net, (*shape[:2], 1), levels)
        if model.classes != 10:
            raise UsageError(
                f"ModesJudge wants a classifier of ten digits, and that of {self.classifier} has {model.classes} "
                "classes: give the run of one that was trained on the digits."
            )

    def judge(
        self, image: UInt8[np.ndarray, "num h w c"], real: UInt8[np.ndarray, "n h w c"], levels: int, condition: Any
    ) -> Mapping[str, float]:
        of_real = _read_of_real(self.classifier, self.least_accuracy, Checksummed(real), levels)
        read = digits_of(_net(self.classifier, self.least_accuracy), image, levels)
        figures = {self._named(figure): value for figure, value in stacked_modes(read, of_real).items()}
        return figures if self._accuracy is None else {**figures, self._named("accuracy"): self._accuracy}


def digits_of(net: Trained, image: UInt8[np.ndarray, "n h w c"], levels: int) -> Integer[np.ndarray, "n c"]:
    """The class of each channel of images of so many levels, as a classifier's run tells it."""
    grey = at_levels_of(net, np.moveaxis(image, 3, 1).reshape(-1, *image.shape[1:3], 1), levels)
    return net.class_log_probs(grey).argmax(axis=1).reshape(len(image), -1)


@functools.lru_cache(maxsize=1)
def _net(folder: str, least_accuracy: float) -> Trained:
    return features_run(folder, least_accuracy)


@functools.lru_cache(maxsize=1)
def _read_of_real(folder: str, least_accuracy: float, real: Checksummed, levels: int) -> Integer[np.ndarray, "n c"]:
    return digits_of(_net(folder, least_accuracy), real.array, levels)
