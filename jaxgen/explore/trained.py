"""A trained model: what `jaxgen.load` gives, and what a model with variables from elsewhere becomes.

Its functions take and give numpy arrays of any number of images. They are compiled once, run in chunks of one size
that the devices share, and stay compiled as long as the object lives.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Integer, UInt8

from jaxgen.core.capabilities import (
    Autoregressive,
    Classifier,
    Completer,
    Decoder,
    Density,
    Encoder,
    Energy,
    Features,
    Latent,
    Reconstructor,
    Sampler,
    require,
)
from jaxgen.core.checks import check_seed
from jaxgen.core.model import Variables
from jaxgen.engine.devices.mesh import sharded
from jaxgen.explore.chunks import (
    CHUNK,
    Program,
    classifying,
    completion,
    decoding,
    describing,
    drawing_codes,
    encoding,
    energies,
    in_chunks,
    influencing,
    reconstruction,
    sampling,
    scoring,
    surprising,
)
from jaxgen.explore.inputs import checked_codes, checked_condition, checked_images, checked_mask

SMALL = 20
"""Images at a time where a program holds the probabilities of all values, or gradients."""

Images = Integer[Array | np.ndarray, "b h w c"] | Bool[Array | np.ndarray, "b h w c"]
Codes = Float[Array | np.ndarray, "b ..."]


@dataclasses.dataclass(frozen=True, eq=False)
class Trained:
    """A model with its variables, ready to use on the devices of a mesh."""

    model: Any
    variables: Variables
    mesh: Any

    def sample(
        self,
        num: int = 64,
        seed: int = 0,
        condition: Any = None,
        temperature: float = 1.0,
        chunk: int = CHUNK,
        progress: Callable[[int], None] | None = None,
    ) -> np.ndarray:
        """`uint8[num,h,w,c]` drawn from the model, `chunk` at a time; the same seed gives the same images.

        An image depends on the seed, its number and its condition, not on `num` or `chunk`. `condition` has a row for
        each image (labels, say); by default it is the model's example, such as each class in turn.
        """
        require(self.model, Sampler, "sample")
        condition = self.model.example_condition(num) if condition is None else condition
        rows = {"condition": checked_condition(self.model, condition, num)}
        return self._run((sampling, temperature), rows, num, seed, chunk, progress)

    def log_prob(
        self, image: Images, seed: int = 0, condition: Any = None, progress: Callable[[int], None] | None = None
    ) -> Float[np.ndarray, " b"]:
        """Nats of each image; for a model with a bound, one draw of it by `seed`."""
        require(self.model, Density, "score images")
        return self._run((scoring,), *self._rows(image, condition), seed, progress=progress)

    def complete(
        self,
        image: Images,
        given: Bool[Array | np.ndarray, "h w"],
        seed: int = 0,
        condition: Any = None,
        temperature: float = 1.0,
        progress: Callable[[int], None] | None = None,
    ) -> np.ndarray:
        """`uint8[b,h,w,c]`: the images where `given`, drawn from the model elsewhere.

        `model.completes_exactly(given)` says whether those are draws from the model's own conditional distribution.
        """
        require(self.model, Completer, "complete images")
        mask = tuple(map(tuple, checked_mask(self.model, given).tolist()))  # programs are kept by what is fixed
        rows = self._rows(image, condition)
        return self._run((completion, mask, temperature), *rows, seed, progress=progress)

    def surprise(self, image: Images, condition: Any = None) -> Float[np.ndarray, "b h w"]:
        """Bits of each pixel given those before it: `explore.surprise`. A map adds up to −log2 p of its image."""
        require(self.model, Autoregressive, "say how surprising each pixel is")
        return self._run((surprising,), *self._rows(image, condition), chunk=SMALL)

    def field(
        self, image: Images, condition: Any = None, at: tuple[int, int] | None = None
    ) -> Float[np.ndarray, "h w"]:
        """The effective receptive field of a pixel, the centre by default: the mean of `explore.influence`."""
        require(self.model, Autoregressive, "show its receptive field")
        return self._run((influencing, at), *self._rows(image, condition), chunk=SMALL).mean(axis=0)

    def prior(self, num: int = 64, seed: int = 0) -> Float[np.ndarray, "num ..."]:
        """Codes drawn from the prior; a code depends on the seed and its number, not on `num`.

        For a model whose samples are its decoded codes, `decode(prior(num, seed))` are those of `sample(num, seed)`.
        """
        require(self.model, Latent, "draw latent codes")
        return self._run((drawing_codes,), {}, num, seed)

    def decode(
        self, z: Codes, condition: Any = None, progress: Callable[[int], None] | None = None
    ) -> UInt8[np.ndarray, "b h w c"]:
        """The image of each code, without draws; conditions are the model's example by default, as of `sample`."""
        require(self.model, Decoder, "decode latent codes")
        z = checked_codes(self.model, z)
        condition = self.model.example_condition(len(z)) if condition is None else condition
        rows = {"z": z, "condition": checked_condition(self.model, condition, len(z))}
        return self._run((decoding,), rows, len(z), progress=progress)

    def encode(
        self, image: Images, condition: Any = None, progress: Callable[[int], None] | None = None
    ) -> Float[np.ndarray, "b ..."]:
        """The representation of each image."""
        require(self.model, Encoder, "encode images")
        return self._run((encoding,), *self._rows(image, condition), progress=progress)

    def features(self, image: Images, progress: Callable[[int], None] | None = None) -> Float[np.ndarray, "b d"]:
        """The features of each image, in which sets of images are compared: `explore.quality`."""
        require(self.model, Features, "give features of images")
        return self._run((describing,), *self._rows(image), progress=progress)

    def class_log_probs(
        self, image: Images, seed: int = 0, progress: Callable[[int], None] | None = None
    ) -> Float[np.ndarray, "b classes"]:
        """log p(y|x) of each class of each image; of a model that draws for it, by `seed`."""
        require(self.model, Classifier, "tell the classes of images")
        return self._run((classifying,), *self._rows(image), seed, progress=progress)

    def energy(self, image: Images, progress: Callable[[int], None] | None = None) -> Float[np.ndarray, " b"]:
        """The energy of each image, lower for those that are more like the ones of training."""
        require(self.model, Energy, "give images an energy")
        return self._run((energies,), *self._rows(image), progress=progress)

    def reconstruct(
        self, image: Images, condition: Any = None, progress: Callable[[int], None] | None = None
    ) -> UInt8[np.ndarray, "b h w c"]:
        """Each image passed through its representation and back."""
        require(self.model, Reconstructor, "reconstruct images")
        return self._run((reconstruction,), *self._rows(image, condition), progress=progress)

    def _rows(self, image: Any, condition: Any = None) -> tuple[dict[str, Any], int]:
        """Images and their conditions, checked, and how many there are."""
        image = checked_images(self.model, image)
        condition = checked_condition(self.model, condition, len(image))
        return {"image": image, "condition": condition}, len(image)

    def _run(
        self,
        program_key: tuple[Any, ...],
        rows: Any,
        num: int,
        seed: int = 0,
        chunk: int = CHUNK,
        progress: Any = None,
    ) -> np.ndarray:
        """Over all rows, the program that is made by a function of `explore`, `made[0]`, and what is fixed in it."""
        check_seed(seed)
        program, key, where = self._program(*program_key), jax.random.key(seed), sharded(self.mesh)

        def run(part: dict[str, Any]) -> Any:
            return program(self.variables, key, jax.device_put(part, where))

        return in_chunks(run, rows, num, chunk, self.mesh.devices.size, progress)

    @functools.cached_property
    def _program(self) -> Callable[..., Any]:
        """Compiled programs by what they are made from, kept as long as this object lives."""

        def compiled(make: Callable[..., Program], *fixed: Any) -> Callable[..., Any]:
            return jax.jit(make(self.model, *fixed), out_shardings=sharded(self.mesh))

        return functools.cache(compiled)
