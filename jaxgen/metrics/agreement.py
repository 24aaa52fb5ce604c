"""How much of what was asked for is there: attributes read off pictures, against those that sentences tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Int


def agreement(
    read: Int[np.ndarray, "n a"], asked: Int[np.ndarray, "n a"], kinds: Mapping[str, Sequence[int]]
) -> dict[str, float]:
    """Percent of the attributes that are asked for (not −1) and are read as that: "attributes", of all; by the name of
    a kind, of those in its columns, left out where none is asked for; and "everything", of the pictures in which all
    that is asked for is read.

    >>> read, asked = np.array([[0, 1], [2, 1]]), np.array([[0, 0], [2, -1]])
    >>> agreement(read, asked, {"shape": [0], "colour": [1]})
    {'attributes': 66.66666666666666, 'shape': 100.0, 'colour': 0.0, 'everything': 50.0}
    """
    there = asked >= 0
    right = there & (read == asked)
    columns = {"attributes": slice(None)} | {name: list(numbers) for name, numbers in kinds.items()}
    shares = {name: (right[:, numbers].sum(), there[:, numbers].sum()) for name, numbers in columns.items()}
    figures = {name: 100.0 * float(part / whole) for name, (part, whole) in shares.items() if whole}
    return figures | {"everything": 100.0 * float((right == there).all(axis=1).mean())}


def chance(
    read: Int[np.ndarray, "n a"], asked: Int[np.ndarray, "n a"], kinds: Mapping[str, Sequence[int]]
) -> dict[str, float]:
    """The same where each picture is held against what is asked of another: the average over all n − 1 shifts by whole
    places, which is what pictures that look like the data and mind no sentence would reach."""
    parts = [agreement(read, np.roll(asked, shift, axis=0), kinds) for shift in range(1, len(read))]
    return {name: float(np.mean([part[name] for part in parts])) for name in parts[0]}
