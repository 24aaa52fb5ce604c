"""The network of the Fréchet inception distance with weights from a file of the user's, as features of any images.

The package brings no such weights. A file is PyTorch's state dict of `pytorch-fid` (`.pth`, `.pt`; read without
PyTorch), or an .npz of arrays by the same names. Figures are called after its SHA-256, `FID[6726825d]`, the first
eight digits that stand in the name of the usual file too: of another file they are no such FID.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxgen.core.errors import UsageError
from jaxgen.core.files import home_path
from jaxgen.data.arrays import read_npz
from jaxgen.data.torch_file import read_state_dict
from jaxgen.engine.devices.mesh import make_mesh, replicated
from jaxgen.explore.chunks import describing
from jaxgen.explore.trained import SMALL, Trained
from jaxgen.models.inception import Inception, loaded

SUFFIXES = (".npz", ".pth", ".pt")


@dataclasses.dataclass(frozen=True, eq=False)
class InceptionFile(Trained):
    """The net with the weights of a file; `digest` names it."""

    digest: str

    def features(self, image: Any, progress: Callable[[int], None] | None = None) -> Float[np.ndarray, "b d"]:
        """The 2048 features of each image, few at a time: the net's maps of one are as large as a photograph."""
        return self._run((describing,), *self._rows(image), chunk=SMALL, progress=progress)


def is_weights(name: str | Path) -> bool:
    """Whether features are named by a file of weights, and not by a run's folder."""
    return Path(name).suffix.lower() in SUFFIXES and not home_path(name).is_dir()


def inception(name: str | Path, shape: tuple[int, int, int]) -> InceptionFile:
    """The net for images of a shape, with the weights of a file.

    Raises `UsageError` for a file that is not there or is none of weights of this net, naming the array that does not
    fit, and for images of other than one or three channels.
    """
    model, path = Inception(shape=shape, levels=256), home_path(name)
    import jax

    mesh = make_mesh()
    return InceptionFile(model, jax.device_put(_weights(path), replicated(mesh)), mesh, digest(path))


@functools.lru_cache(maxsize=4)
def digest(path: str | Path) -> str:
    """The first eight digits of the SHA-256 of a file. Raises `UsageError` where there is none."""
    path = home_path(path)
    if not path.is_file():
        raise UsageError(f"there is no file {path}: name the weights of Inception v3, or the run of a classifier.")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:8]


def _weights(path: Path) -> Any:
    digest(path)
    return loaded((read_npz if path.suffix.lower() == ".npz" else read_state_dict)(path), str(path))
