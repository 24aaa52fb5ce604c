"""What a trained model shows without a latent vector: draws, growth, surprise, and the field that it really sees.

Everything rests on the factorisation log p(x) = Σ log p(x_i | x_<i) of `Autoregressive` models; draws need only a
`Sampler` or a `Completer`. The receptive field is the effective one of 1701.04128, by gradients at real images, of a
log-probability instead of a feature.

Programs here are `program(variables, key, rows) -> [b, …]` over a batch of rows: "row", the numbers of the images
within the whole, and "image" and "condition" where they are needed. `in_chunks` runs one of them over any number of
images, in chunks of one size. Drawn images have a key each, made from their numbers, so that neither the chunk nor
the number of images changes them (up to rounding, which may tip a draw that lies on a boundary).
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt8

from jaxgen import conditions
from jaxgen.core import Autoregressive, Model, Variables, require
from jaxgen.draws import check_temperature
from jaxgen.errors import UsageError
from jaxgen.images import to_float

CHUNK = 100
"""Images that are drawn or scored at a time, unless told otherwise."""

Images = UInt8[Array | np.ndarray, "b h w c"]
Program = Callable[[Variables, Any, dict[str, Any]], Any]


def in_chunks(
    run: Callable[[dict[str, Any]], Any],
    rows: dict[str, Any],
    num: int,
    chunk: int = CHUNK,
    multiple: int = 1,
    progress: Callable[[int], None] | None = None,
) -> np.ndarray:
    """`run(rows)` for all `num` rows, `chunk` at a time: every call has the same shapes, so that it compiles once.

    `rows` are numpy arrays (None for those that are not there), to which the numbers "row" are added. Chunks are
    rounded up to a `multiple`, the devices that share them. `progress` is told how many rows are done. Raises
    `UsageError` for fewer than one row, or a chunk of none.
    """
    if num < 1 or chunk < 1:
        raise UsageError(f"wanted at least 1 image and chunks of at least 1, got {num} and {chunk}.")
    chunk, found = -(-min(chunk, num) // multiple) * multiple, []
    for start in range(0, num, chunk):
        index = np.minimum(np.arange(start, start + chunk), num - 1)  # the last chunk is filled up with its last row
        found.append(np.asarray(run({"row": index, **jax.tree.map(lambda a, i=index: np.asarray(a)[i], rows)})))
        if progress is not None:
            progress(min(start + chunk, num))
    return np.concatenate(found)[:num]


def sampling(model: Any, temperature: float = 1.0) -> Program:
    """The program that draws images, each with the key of its row."""
    options = _options(model, model.sample, temperature)

    def one(variables: Variables, key: Any, row: dict[str, Any]) -> Any:
        return model.sample(variables, key, 1, row["condition"], **options)

    return _each(one)


def completion(model: Any, given: Any, temperature: float = 1.0) -> Program:
    """The program that completes images, each with the key of its row. The mask bool[h,w] is part of the program:
    a model may choose the order of its pixels by it."""
    options, mask = _options(model, model.complete, temperature), checked_mask(model, given)

    def one(variables: Variables, key: Any, row: dict[str, Any]) -> Any:
        return model.complete(variables, key, row["image"], mask, row["condition"], **options)

    return _each(one)


def scoring(model: Any) -> Program:
    """The program of log-probabilities, in nats; a bound that draws has a key for each chunk."""

    def program(variables: Variables, key: Any, rows: dict[str, Any]) -> Any:
        key = jax.random.fold_in(key, rows["row"][0])
        return model.log_prob(variables, rows["image"], key, rows["condition"])

    return program


def surprising(model: Any) -> Program:
    """The program of `surprise`."""
    return lambda variables, key, rows: surprise(model, variables, rows["image"], rows["condition"])


def influencing(model: Any, at: tuple[int, int] | None = None) -> Program:
    """The program of `influence`."""
    return lambda variables, key, rows: influence(model, variables, rows["image"], rows["condition"], at)


def surprise(
    model: Autoregressive, variables: Variables, image: Images, condition: Any = None
) -> Float[Array, "b h w"]:
    """Bits of each pixel given those before it, −log2 p(x_i | x_<i) summed over its channels.

    The map adds up to −log2 p of the image.
    """
    return -_chosen(model.log_pmf(variables, image, condition), image).sum(axis=-1) / math.log(2.0)


def influence(
    model: Autoregressive,
    variables: Variables,
    image: Images,
    condition: Any = None,
    at: tuple[int, int] | None = None,
) -> Float[Array, "b h w"]:
    """How far each pixel moves the prediction of the one at (row, column), by default the centre (h//2, w//2).

    |∂ log p(x_at | x_<at) / ∂ x_j| summed over the channels of j, in nats per full range of intensity: the gradient of
    the log-probability of the value that is there, with respect to the other values as numbers. It is zero outside
    of the model's `context()`, and of what a net is fed by a step function (`marks`) it shows nothing.
    """
    r, c = _place(model, at)

    def log_prob(x: Array) -> Array:
        log_pmf = jax.nn.log_softmax(model.logits(variables, x, condition))
        return _chosen(log_pmf[:, r, c], jnp.asarray(image)[:, r, c]).sum()

    return jnp.abs(jax.grad(log_prob)(to_float(image, model.levels))).sum(axis=-1)


def seen_by(model: Autoregressive, at: tuple[int, int] | None = None) -> Bool[np.ndarray, "h w"]:
    """The declared context of a pixel, the centre by default: what its channels can see of each pixel's channels."""
    r, c = _place(model, at)
    return np.asarray(model.context()[r, c].any(axis=(0, 3)))


def share_of(field: Float[np.ndarray, "h w"], share: float) -> int:
    """The fewest pixels that hold a share (0 to 1) of a field's sum."""
    found = np.cumsum(np.sort(np.asarray(field, np.float64).reshape(-1))[::-1])
    return int(np.searchsorted(found, share * found[-1] * (1 - 1e-9)) + 1) if found[-1] > 0 else 0


def drawing_rank(model: Model) -> Int[np.ndarray, "h w"]:
    """When a model draws each pixel, 0 for the first. Raises `UsageError` where it draws in no one order of pixels."""
    return require(model, Autoregressive, "show images growing").drawing_rank()


def growth(rank: Int[np.ndarray, "h w"], most: int = 100) -> Bool[np.ndarray, "frames h w"]:
    """Which pixels are there in each frame of a growing image: none, then more and more in their order, then all.

    With every pixel a frame of its own where `most` frames allow it, and evenly spaced counts otherwise.
    """
    counts = np.linspace(0, rank.size, min(rank.size + 1, max(most, 2))).round().astype(int)
    return rank < counts[:, None, None]


def checked_condition(model: Model, condition: Any, num: int) -> Any:
    """A condition for `num` images as a numpy array, or None. Raises `UsageError` where it is not the model's kind."""
    condition = None if condition is None else np.asarray(condition)
    conditions.check(getattr(model, "condition", None), condition, num, type(model).__name__, model.shape)
    return condition


def checked_images(model: Model, image: Any) -> UInt8[np.ndarray, "b h w c"]:
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


def checked_mask(model: Model, given: Any) -> Bool[np.ndarray, "h w"]:
    """A mask as a numpy array. Raises `UsageError` unless it is bool[h,w] of the model's images."""
    mask, (h, w) = np.asarray(given), model.shape[:2]
    if mask.shape != (h, w) or mask.dtype != bool:
        raise UsageError(
            f"wanted a mask bool[{h}, {w}], True where pixels are given, got {mask.dtype}{list(mask.shape)}."
        )
    return mask


def _options(model: Any, draw: Callable[..., Any], temperature: float) -> dict[str, float]:
    """The options of a draw: a temperature is passed on only where there is one to speak of."""
    if temperature == 1:
        return {}
    if "temperature" not in inspect.signature(draw).parameters:
        require(model, Autoregressive, "draw at a temperature")
        raise UsageError(
            f"{type(model).__name__} cannot draw at a temperature: its `{draw.__name__}` takes none. Leave it at 1."
        )
    check_temperature(temperature)
    return {"temperature": float(temperature)}


def _each(one: Callable[..., Any]) -> Program:
    """A program from the function of a single row: the row is a batch of one, and its number makes its key."""

    def program(variables: Variables, key: Any, rows: dict[str, Any]) -> Any:
        def single(row: dict[str, Any]) -> Any:
            batch = jax.tree.map(lambda a: a[None], row)
            return one(variables, jax.random.fold_in(key, row["row"]), batch)[0]

        return jax.vmap(single)(rows)

    return program


def _place(model: Model, at: tuple[int, int] | None) -> tuple[int, int]:
    h, w, _ = model.shape
    r, c = (h // 2, w // 2) if at is None else at
    if not (0 <= r < h and 0 <= c < w):
        raise UsageError(f"the pixel at must lie inside the {h}×{w} image, got row {r}, column {c}.")
    return r, c


def _chosen(log_pmf: Array, value: Any) -> Array:
    return jnp.take_along_axis(log_pmf, jnp.asarray(value, jnp.int32)[..., None], axis=-1)[..., 0]
