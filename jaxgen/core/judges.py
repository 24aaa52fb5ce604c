"""Judges: figures of a set of samples, such as a distance between samples and data, for any `Sampler`."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from jaxtyping import UInt8

from jaxgen.core.errors import UsageError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Judge(abc.ABC):
    """Looks at `num` samples beside the images of a split. Hashable settings, no arrays."""

    num: int = 1000

    def __post_init__(self) -> None:
        if self.num < 1:
            raise UsageError(f"{type(self).__name__}: num must be at least 1, got {self.num}")

    @property
    @abc.abstractmethod
    def figures(self) -> Mapping[str, Literal["lower", "higher"]]:
        """The figures that it gives, by name, and which way each is better."""

    def check(self, shape: tuple[int, ...], levels: int) -> None:  # noqa: B027
        """Raises `UsageError`, before a run begins, where it cannot judge images of this shape and these levels."""

    @abc.abstractmethod
    def judge(
        self, image: UInt8[np.ndarray, "num h w c"], real: UInt8[np.ndarray, "n h w c"], levels: int, condition: Any
    ) -> Mapping[str, float]:
        """The figures of samples `image`, drawn under `condition` (None for none), beside real images of so many
        levels."""
