"""Deep Image Prior (1711.10925): a net that is fitted to one damaged image, and stopped before it learns the damage.

    min_θ E(f_θ(z); x₀)                                                                     (1711.10925, eq. 2)

z is drawn once, .1·U(0, 1) in each of 32 features, and f is an hourglass (`deep_image_prior_net`). E is the mean
squared error to x₀: over all its pixels (denoising, JPEG artefacts), over those that a mask gives (inpainting), or
between x₀ and the output made smaller by Lanczos windows (super-resolution). At each step z is jittered by noise, what
is given back is the average of the outputs with decay .99, and a net whose PSNR to x₀ falls by more than 5 dB is put
back to where it was (§4.1 of the paper, and its code).

When to stop is told without the original by the variance of the outputs along the steps, which falls while the net
finds the image and rises when it learns the noise (2112.06074, "ES-EMV", there with a decay of .9):

    m ← m + α (f − m),   v ← (1 − α) (v + α ‖f − m‖² / pixels),   α = max(1 − decay, 1/(t + 1)),

and of all m that one is kept at which v was least. It is part of the compiled step and remembers no outputs.

Several images of one size, each with a net of its own, are fitted at once. Deviation: PSNR is looked at every tenth
step, the paper's code does so at nearly every one.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from jaxgen.core.capabilities import Scored
from jaxgen.core.errors import UsageError
from jaxgen.core.images import from_float, to_float
from jaxgen.core.model import Aux, Batch, ImageModel, Objective, PRNGKey, Variables, rows
from jaxgen.maths.resample import downsampled
from jaxgen.metrics.restoration import WINDOW, psnr, ssim
from jaxgen.models.one_image.deep_image_prior_net import Hourglass, least_side

FALL, LOOK_EVERY = 5.0, 10
"""A net is put back where its PSNR to the input fell by more dB than that, between two looks so many steps apart."""

OF_THESE = "its nets know the images that they were fitted to, and no others"


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeepImagePrior(Scored, ImageModel):
    """Nets for so many `images`, with the hourglass's `features` and `skips` of each scale, the finest first.

    A batch brings "image", the damaged images at full size, and "number", int32[b], which of the nets each row is for
    (in turn where it is absent). For a `factor` above 1 "small" are the images to be enlarged. "mask" is uint8[b,h,w],
    1 where an image is known, and "original" what it was, by which it is scored and never trained.

    `depth` is that of z, `jitter` the standard deviation of the noise that z gets at each step, `average` the decay of
    the averaged outputs. With `stops` the average at the least variance is given back, else the last one.
    """

    images: int = 1
    factor: int = 1
    features: tuple[int, ...] = (128,) * 5
    skips: tuple[int, ...] = (4,) * 5
    depth: int = 32
    upsampling: Literal["bilinear", "nearest"] = "bilinear"
    padding: Literal["reflect", "zero"] = "reflect"
    jitter: float = 1 / 30
    average: float = 0.99
    stops: bool = True
    dtype: str = "float32"

    figure: ClassVar[str] = "least_variance"
    conditioned_on: ClassVar[tuple[type, ...]] = ()
    lacks: ClassVar[dict[str, str]] = {
        "Density": "it is fitted to single images and has no distribution of them",
        "Autoregressive": "it makes all pixels at once",
        "Sampler": "it makes the images that it was fitted to, and draws no others",
        "Completer": f"{OF_THESE}: `jaxgen restore inpaint` fits one to an image with holes",
        "Encoder": OF_THESE,
        "Reconstructor": f"{OF_THESE}: `jaxgen restore` fits one to an image",
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        h, w, _ = self.shape
        if len(self.features) != len(self.skips) or not self.features or min(*self.features, 0) < 0:
            raise UsageError(
                f"DeepImagePrior: wanted features and skips of each scale, as many of both, got {len(self.features)} "
                f"and {len(self.skips)}."
            )
        for name, low in {"images": 1, "factor": 1, "depth": 1}.items():
            if getattr(self, name) < low:
                raise UsageError(f"DeepImagePrior: {name} must be at least {low}, got {getattr(self, name)}.")
        if not 0 <= self.jitter < math.inf or not 0 < self.average < 1:
            raise UsageError(
                "DeepImagePrior: jitter must be at least 0 and average between 0 and 1, got "
                f"{self.jitter} and {self.average}."
            )
        if min(h, w) < (least := least_side(scales := len(self.features))):
            raise UsageError(
                f"DeepImagePrior: an hourglass of {scales} scales wants images of at least {least}×{least} pixels, got "
                f"{h}×{w}: take fewer scales, or a larger image."
            )
        if h % self.factor or w % self.factor:
            raise UsageError(f"DeepImagePrior: a factor of {self.factor} must divide the sides, got {h}×{w}.")

    @property
    def net(self) -> Hourglass:
        """The hourglass of each image."""
        return Hourglass(self.shape[2], self.features, self.skips, self.upsampling, self.padding, self.dtype)

    def init(self, key: PRNGKey, batch: Batch) -> Variables:
        """For each image a net and its z, each by the image's own key. The collection "outputs" is what is known of
        the outputs so far, "before" the nets as they were at the last look."""
        (h, w, c), n = self.shape, self.images
        keys = jax.vmap(lambda i: jax.random.split(jax.random.fold_in(key, i)))(jnp.arange(n))
        # Drawn along one axis: XLA compiles a draw of four axes for seconds.
        z = jax.vmap(lambda key: 0.1 * jax.random.uniform(key, (h * w * self.depth,)))(keys[:, 0])
        z = z.reshape(n, h, w, self.depth)
        params = {"hourglass": jax.vmap(lambda key, z: self.net.init(key, z[None])["params"])(keys[:, 1], z)}
        pictures, numbers = jnp.zeros((n, h, w, c)), jnp.zeros(n)
        outputs = dict.fromkeys(("now", "mean", "kept"), pictures)
        outputs |= {"variance": numbers, "least": numbers + 1, "kept_at": numbers, "psnr": numbers}
        outputs["steps"] = jnp.zeros(())
        before = {"hourglass": jax.tree.map(jnp.copy, params["hourglass"]), "psnr": numbers}
        return {"params": params, "input": {"z": z}, "outputs": outputs, "before": before}

    def objectives(self) -> tuple[Objective, ...]:
        """One: the squared error to the damaged images. Behind its step nets that broke down are put back."""
        return (Objective("restoration", self._loss, trains=("hourglass",), after=self.put_back),)

    def _loss(self, variables: Variables, batch: Batch, key: PRNGKey) -> tuple[Array, Aux]:
        z, number = variables["input"]["z"], self._numbers(batch)
        each = jax.vmap(lambda i: jax.random.normal(jax.random.fold_in(key, i), (z[0].size,)))(jnp.arange(self.images))
        x = self.outputs(variables, z + self.jitter * each.reshape(z.shape))
        errors = self.errors(x, batch)
        count = jnp.zeros(self.images).at[number].add(1.0)
        error = jnp.zeros(self.images).at[number].add(errors) / jnp.maximum(count, 1.0)
        outputs = self.followed(variables["outputs"], jax.lax.stop_gradient(x), _decibels(error))
        shown = {"psnr_to_input": outputs["psnr"].mean(), "variance": outputs["variance"].mean()}
        # The sum, not the mean: each net moves as it would alone.
        return error.sum(), Aux({}, {"outputs": outputs}, shown)

    def outputs(self, variables: Variables, z: Float[Array, "n h w d"]) -> Float[Array, "n h w c"]:
        """f(z) of each net, 0 … 1. One after another: what `vmap` makes of convolutions with kernels of their own is
        eight times slower on a CPU."""
        params = variables["params"]["hourglass"]
        each = []
        for i in range(self.images):
            own = jax.tree.map(lambda leaf, i=i: leaf[i], params)
            each.append(jnp.asarray(self.net.apply({"params": own}, z[i : i + 1])))
        return jnp.concatenate(each)

    def errors(self, x: Float[Array, "n h w c"], batch: Batch) -> Float[Array, " b"]:
        """The mean squared error of each row of a batch, of values 0 … 1: E above."""
        x = x[self._numbers(batch)]
        if self.factor > 1:
            return ((downsampled(x, self.factor) - to_float(batch["small"], self.levels)) ** 2).mean(axis=(1, 2, 3))
        square = ((x - to_float(batch["image"], self.levels)) ** 2).mean(axis=3)
        if "mask" not in batch:
            return square.mean(axis=(1, 2))
        known = jnp.asarray(batch["mask"], jnp.float32)
        return (square * known).sum(axis=(1, 2)) / known.sum(axis=(1, 2))

    def followed(self, outputs: Variables, x: Array, decibels: Array) -> Variables:
        """What is known of the outputs after one more: their average and variance, and the average at the least."""
        t = outputs["steps"]
        rate = jnp.maximum(1.0 - self.average, 1.0 / (t + 1.0))
        step = x - outputs["mean"]
        mean = outputs["mean"] + rate * step
        variance = (1.0 - rate) * (outputs["variance"] + rate * (step**2).mean(axis=(1, 2, 3)))
        counts = t * (1.0 - self.average) >= 1.0  # before that, it is of too few outputs
        better = counts & (variance < outputs["least"])
        keeps = ~counts | better
        return {
            "now": x,
            "mean": mean,
            "kept": jnp.where(keeps[:, None, None, None], mean, outputs["kept"]),
            "variance": variance,
            "least": jnp.where(better, variance, outputs["least"]),
            "kept_at": jnp.where(keeps, t + 1.0, outputs["kept_at"]),
            "psnr": decibels,
            "steps": t + 1.0,
        }

    def put_back(self, variables: Variables, batch: Batch, key: PRNGKey) -> Variables:
        """Every tenth step: nets whose PSNR to the input fell are those of the last look again, the others are looked
        at next time."""
        outputs, before, params = (variables[name] for name in ("outputs", "before", "params"))
        looks = outputs["steps"] % LOOK_EVERY == 0
        fell = looks & (outputs["psnr"] < before["psnr"] - FALL)
        kept = looks & ~fell

        def chosen(which: Array, then: Any, otherwise: Any) -> Any:
            return jax.tree.map(lambda a, b: jnp.where(which.reshape(-1, *(1,) * (a.ndim - 1)), a, b), then, otherwise)

        net = chosen(fell, before["hourglass"], params["hourglass"])
        before = {
            "hourglass": chosen(kept, params["hourglass"], before["hourglass"]),
            "psnr": chosen(kept, outputs["psnr"], before["psnr"]),
        }
        return {**variables, "params": {**params, "hourglass": net}, "before": before}

    def restored(self, variables: Variables, batch: Batch, which: str = "") -> UInt8[Array, "b h w c"]:
        """The restored image of each row: of `which` outputs, "now" (the last one), "mean" (the average) or "kept" (the
        average at the least variance), or as `stops` says. What a mask gives stays as it is."""
        which = which or ("kept" if self.stops else "mean")
        x = from_float(variables["outputs"][which], self.levels)[self._numbers(batch)]
        if "mask" not in batch:
            return x
        return jnp.where(jnp.asarray(batch["mask"])[..., None] > 0, jnp.asarray(batch["image"]), x)

    def scores(self, variables: Variables, batch: Batch, key: PRNGKey) -> dict[str, Float[Array, " b"]]:
        """ "least_variance" of the outputs so far, "variance" now, and "psnr_to_input"; where there are originals,
        "psnr" of the averaged output, "psnr_output" of the last one and "psnr_stopped" of the one that is kept, in dB,
        and "ssim" of what is given back, of images no smaller than its window."""
        number, outputs = self._numbers(batch), variables["outputs"]
        names = {"least_variance": "least", "variance": "variance", "psnr_to_input": "psnr"}
        figures = {name: outputs[own][number] for name, own in names.items()}
        if "original" not in batch:
            return figures
        for name, which in {"psnr": "mean", "psnr_output": "now", "psnr_stopped": "kept"}.items():
            figures[name] = psnr(self.restored(variables, batch, which), batch["original"], self.levels)
        if min(self.shape[:2]) >= WINDOW:
            figures["ssim"] = ssim(self.restored(variables, batch), batch["original"], self.levels)
        return figures

    def shows(self, variables: Variables, batch: Batch, key: PRNGKey) -> dict[str, Any]:
        """The damaged images and, beside them, what is given back so far; then the originals where there are any."""
        parts = [jnp.asarray(batch["image"]), self.restored(variables, batch)]
        parts += [jnp.asarray(batch["original"])] if "original" in batch else []
        return {"restored": jnp.concatenate(parts, axis=2)}

    def check_data(self, batch: Batch) -> None:
        """Raises `UsageError` where the images to enlarge are not there or of another size, or a mask gives none of an
        image."""
        super().check_data(batch)
        (h, w, c), f = self.shape, self.factor
        if f > 1 and ("small" not in batch or batch["small"].shape[1:] != (h // f, w // f, c)):
            size = f"{h // f}×{w // f}"
            raise UsageError(f'DeepImagePrior enlarges images by {f}: wanted "small" of {size} pixels in the data.')
        mask = batch.get("mask")
        if mask is not None and mask.shape[1:] != (h, w):
            raise UsageError(
                f"DeepImagePrior: wanted a mask of {h}×{w} pixels, got {'×'.join(map(str, mask.shape[1:]))}."
            )
        if isinstance(mask, np.ndarray) and not mask.any(axis=(1, 2)).all():
            raise UsageError("DeepImagePrior: a mask gives no pixel, and there is nothing to restore from.")

    def _numbers(self, batch: Batch) -> Array:
        own = batch.get("number")
        return jnp.arange(rows(batch)) % self.images if own is None else jnp.asarray(own)


def _decibels(error: Array) -> Array:
    """PSNR of a mean squared error of values 0 … 1; of none at all 200 dB, for logs that want finite numbers."""
    return -10.0 * jnp.log10(jnp.maximum(error, 1e-20))
