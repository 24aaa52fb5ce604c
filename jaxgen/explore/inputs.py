"""Images, masks and conditions that a user hands to a model, checked against it."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, UInt8

from jaxgen.core.capabilities import Decoder, Encoder, Latent
from jaxgen.core.errors import UsageError
from jaxgen.core.model import ImageModel, batch_like

Images = UInt8[Array | np.ndarray, "b h w c"]


def checked_condition(model: ImageModel, condition: Any, num: int) -> Any:
    """A condition for `num` images as a numpy array, or None. Raises `UsageError` where it is not the model's kind."""
    condition = None if condition is None else np.asarray(condition)
    model.check_condition(condition, num)
    return condition


def checked_images(model: ImageModel, image: Any) -> UInt8[np.ndarray, "b h w c"]:
    """Images as uint8. Raises `UsageError` unless they are integers or bool of the model's shape and levels."""
    image, most = np.asarray(image), model.levels - 1
    if image.ndim != 4 or image.shape[1:] != tuple(model.shape):
        raise UsageError(f"wanted images [b, {', '.join(map(str, model.shape))}], got shape {list(image.shape)}.")
    if not (image.dtype == bool or np.issubdtype(image.dtype, np.integer)):
        raise UsageError(f"wanted images of integers 0 to {most}, got {image.dtype}: `images.from_float` rounds 0 … 1.")
    if image.size and image.min() < 0:
        raise UsageError(f"wanted values 0 to {most}, got {image.min()}.")
    if image.size and image.max() > most:
        raise UsageError(f"wanted values below {model.levels}, got {image.max()}: requantise the images.")
    return image.astype(np.uint8)


def checked_mask(model: ImageModel, given: Any) -> Bool[np.ndarray, "h w"]:
    """A mask as a numpy array. Raises `UsageError` unless it is bool[h,w] of the model's images."""
    mask, (h, w) = np.asarray(given), model.shape[:2]
    if mask.shape != (h, w) or mask.dtype != bool:
        raise UsageError(
            f"wanted a mask bool[{h}, {w}], True where pixels are given, got {mask.dtype}{list(mask.shape)}."
        )
    return mask


def code_shape(model: Decoder) -> tuple[int, ...]:
    """The shape of the code of one image, of a draw of the prior or else of what an image is encoded as; computes
    nothing. Raises `UsageError` for a model that has neither."""
    if isinstance(model, Latent):
        drawn: Any = jax.eval_shape(lambda: model.prior(jax.random.key(0), 1))
        return tuple(drawn.shape[1:])
    if isinstance(model, Encoder):
        return encoded_shape(model)
    raise UsageError(f"{type(model).__name__} decodes codes, but has no prior and encodes no images, which give them.")


def encoded_shape(model: Encoder) -> tuple[int, ...]:
    """The shape of what one image is encoded as; computes nothing."""
    batch = batch_like(model, 1)
    variables = jax.eval_shape(model.init, jax.random.key(0), batch)
    code: Any = jax.eval_shape(model.encode, variables, batch["image"], model.condition_of(batch))
    return tuple(code.shape[1:])


def checked_codes(model: Decoder, z: Any) -> Float[np.ndarray, "b ..."]:
    """Codes as float32. Raises `UsageError` unless they are finite numbers of the shape of the model's codes."""
    z, wanted = np.asarray(z), code_shape(model)
    if z.shape[1:] != wanted or z.ndim < 1:
        raise UsageError(f"wanted codes [{', '.join(['b', *map(str, wanted)])}], got shape {list(z.shape)}.")
    if not (np.issubdtype(z.dtype, np.floating) or np.issubdtype(z.dtype, np.integer)):
        raise UsageError(f"wanted codes of numbers, got {z.dtype}.")
    if not np.isfinite(z).all():
        raise UsageError("wanted codes of finite numbers, got NaN or infinity.")
    return z.astype(np.float32)
