"""A lossless codec of images: a file of about as many bits as a model says that they hold, −log2 p(x).

A range coder (the library constriction, 2201.01741) is driven by p(x_i | x_<i) of an `Incremental` model. All images of
a file share one stream: a batch of them is coded side by side, pixel after pixel as the model goes over them.

What is written with some floats can only be read with the very same. So both sides run one and the same program, pixel
by pixel at one batch shape, driven from the host; and a file says with what it was made, and what that program answered
to a question that both sides can ask (the probe). What does not match is refused beforehand, and the checksum of the
images, at the end, catches the rest.

    magic      8 bytes
    checksum   32 bytes    SHA-256 of all that follows
    length     4 bytes     of the header, little-endian
    header     JSON        model, shape, count, versions, device, probe, checksum of the images
    labels                 of each image, where they were given to a model of classes; or conditions, little-endian
                           float32[n,…], of a model of vectors or maps
    stream                 the range coder's words of 32 bits, little-endian
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float, Integer, UInt8

from jaxgen.codec import container
from jaxgen.codec.programs import Step, Steps
from jaxgen.core import conditions
from jaxgen.core.capabilities import Autoregressive, Incremental, require
from jaxgen.core.errors import UsageError
from jaxgen.core.model import Variables

BATCH = 500
"""Images coded side by side, unless told otherwise: more take less time and more memory. A file keeps its own."""

LEAST = 2.0**-149
"""The smallest float32 above zero: what counts for a probability that underflowed, where bits are counted."""

Progress = Callable[[int], None]


class Decompressed(NamedTuple):
    """Images, and their labels or conditions where those were stored with them."""

    image: UInt8[np.ndarray, "b h w c"]
    label: Integer[np.ndarray, " b"] | None
    condition: Float[np.ndarray, "b ..."] | None


def compress(
    model: Any,
    variables: Variables,
    image: UInt8[Array | np.ndarray, "b h w c"],
    condition: Any = None,
    batch: int = BATCH,
    about: dict[str, Any] | None = None,
    progress: Progress | None = None,
) -> tuple[bytes, dict[str, Any]]:
    """A file's bytes, and figures: "count"; bytes of all, header, labels (or conditions), stream, and of the raw images
    with as many bits for each sub-pixel as its levels need; bits per sub-pixel of the file, its stream, by the model.

    `condition` is what the model is conditioned on, and is stored as it is; `about` is kept in the header, as JSON;
    `progress` is told how many images are done. Raises `UsageError` for a model that cannot be walked pixel by pixel,
    for images and conditions that are not of its kind, and where it gives no probabilities.
    """
    check_model(model)
    image, beside = _checked(model, image, condition)
    if batch < 1:
        raise UsageError(f"batch must be at least 1, got {batch}.")
    coder, steps, bits = _constriction(), Steps(model, variables, min(batch, len(image)), beside is not None), 0.0
    made_with, stream, family = container.described(steps), coder.queue.RangeEncoder(), _family(coder)
    for part, row_done in _parts(len(image), steps, progress):
        n = part.stop - part.start

        def pixel(values: np.ndarray, step: Step, n: int = n) -> Any:
            nonlocal bits
            pmf, state, kept = step(values)
            for k in range(model.shape[2]):
                p, value = _probabilities(pmf, n, k), values[:n, k].astype(np.int32)
                with _saying("the model gives no probabilities for some pixel: has its training diverged?"):
                    stream.encode(value, family, p)
                chosen = np.take_along_axis(p, value[:, None], 1)[:, 0] / p.sum(1)
                bits -= float(np.log2(np.maximum(chosen, LEAST)).sum())
            return values, state, kept

        steps.walk(steps.filled(image[part]), _filled(beside, part, steps.batch), pixel, row_done)
    words = np.asarray(stream.get_compressed(), "<u4").tobytes()
    stored = b"" if beside is None else beside.tobytes()
    made_with |= {
        "count": len(image),
        "labels": None if beside is None else beside.dtype.str,
        "images": container.checksum(image),
        "about": about or {},
    }
    data, dims = container.pack(made_with, stored + words), image.size
    return data, {
        "count": len(image),
        "bytes": len(data),
        "header_bytes": len(data) - len(stored) - len(words),
        "label_bytes": len(stored),
        "stream_bytes": len(words),
        "raw_bytes": -(-dims * (model.levels - 1).bit_length() // 8),
        "bits_per_dim": 8 * len(data) / dims,
        "stream_bits_per_dim": 8 * len(words) / dims,
        "model_bits_per_dim": bits / dims,
    }


def decompress(
    model: Any, variables: Variables, data: bytes, name: str = "the file", progress: Progress | None = None
) -> Decompressed:
    """The images of a file that `compress` made with this model. `name` is the file's, for messages.

    Raises `UsageError` for what is no such file or is damaged, and where model, versions, device or the floats that
    they compute are not those that it was made with, naming both. Wrong images are never returned.
    """
    check_model(model)
    header, payload = container.unpack(data, name)
    container.check_model(header, model, variables, name)
    beside, start, tail = None, 0, conditions.tail(model.condition, model.shape)
    if header["labels"] is not None:
        kind = np.dtype(header["labels"])
        start = header["count"] * kind.itemsize * math.prod(tail)
        if len(payload) >= start:
            beside = np.frombuffer(payload[:start], kind).reshape(-1, *tail)
    if len(payload) < start or (len(payload) - start) % 4 or header["batch"] > header["count"]:
        raise UsageError(f"{name} is no file of `jaxgen compress`: it holds other bytes than its header says.")
    conditions.check(model.condition, beside, header["count"], f"{name}: {type(model).__name__}", model.shape)
    image = _room(header, model, name)
    coder, steps = _constriction(), Steps(model, variables, header["batch"], beside is not None)
    container.check_floats(header, steps, name)
    stream = coder.queue.RangeDecoder(np.frombuffer(payload[start:], "<u4").astype(np.uint32))
    family = _family(coder)
    otherwise = "here the model computes other floats than where it was made. Read it on the machine that made it."
    for part, row_done in _parts(len(image), steps, progress):
        n = part.stop - part.start

        def pixel(values: np.ndarray, step: Step, n: int = n) -> Any:
            values = np.zeros_like(values)
            for k in range(model.shape[2]):
                p = _probabilities(step(values)[0], n, k)
                with _saying(f"{name} does not decode: {otherwise}"):
                    values[:n, k] = stream.decode(family, p)
            _, state, kept = step(values)
            return values, state, kept

        image[part] = steps.walk(steps.filled(()), _filled(beside, part, steps.batch), pixel, row_done)[:n]
    if container.checksum(image) != header["images"]:
        raise UsageError(f"{name} gave other images than were put in, which are thrown away: {otherwise}")
    return Decompressed(image, None, beside) if tail else Decompressed(image, beside, None)


def header(data: bytes, name: str = "the file") -> dict[str, Any]:
    """What a file says of itself: "count", "shape", "levels", "about" and with what it was made.

    Raises `UsageError` where it is no such file, or is damaged.
    """
    return container.unpack(data, name)[0]


def check_model(model: Any) -> None:
    """Raises `UsageError` unless the model can be walked pixel by pixel."""
    require(model, Autoregressive, "compress images")
    require(model, Incremental, "compress images")


def _room(header: dict[str, Any], model: Any, name: str) -> np.ndarray:
    """An array for all images of a file. Raises `UsageError` where there is no room for so many."""
    try:
        return np.empty((header["count"], *model.shape), np.uint8)
    except (MemoryError, ValueError) as error:
        raise UsageError(f"{name} holds {header['count']:,} images, for which there is no memory here.") from error


def _checked(model: Any, image: Any, condition: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """Images and labels, or conditions, as they are stored."""
    image = np.ascontiguousarray(image)
    if image.dtype != np.uint8 or image.ndim != 4 or image.shape[1:] != tuple(model.shape) or not len(image):
        wanted = ", ".join(map(str, model.shape))
        raise UsageError(f"wanted images uint8[b, {wanted}] with b at least 1, got {image.dtype}{list(image.shape)}.")
    if image.max() >= model.levels:
        raise UsageError(f"wanted values below {model.levels}, the model's levels, got {image.max()}.")
    model.check_condition(condition, len(image))
    if condition is None:
        return image, None
    if conditions.tail(model.condition, model.shape):
        return image, np.ascontiguousarray(condition, container.NUMBERS)
    label = np.asarray(condition)
    low, high = label.min(), label.max()
    return image, label.astype(next(k for k in container.KINDS if np.iinfo(k).min <= low and high <= np.iinfo(k).max))


def _parts(count: int, steps: Steps, progress: Progress | None) -> Iterator[tuple[slice, Progress | None]]:
    """The images of each batch, and what tells of its finished rows as images."""
    for start in range(0, count, steps.batch):
        part = slice(start, min(start + steps.batch, count))
        yield part, None if progress is None else _by_rows(progress, part, steps.rows)


def _by_rows(progress: Progress, part: slice, every: int) -> Progress:
    return lambda rows: progress(part.start + (part.stop - part.start) * rows // every)


def _filled(beside: np.ndarray | None, part: slice, batch: int) -> np.ndarray | None:
    """The labels or conditions of a batch, filled up with the first class, or zeros."""
    if beside is None:
        return None
    full = np.zeros((batch, *beside.shape[1:]), np.float32 if beside.dtype.kind == "f" else np.int32)
    full[: part.stop - part.start] = beside[part]
    return full


def _probabilities(pmf: Any, n: int, k: int) -> np.ndarray:
    """float64[n,levels] of a channel, without the images that only fill a batch up."""
    return np.ascontiguousarray(np.asarray(pmf)[:n, k], np.float64)


def _constriction() -> Any:
    try:
        import constriction
    except ImportError as error:
        raise UsageError("the codec needs the package constriction: pip install 'jaxgen[codec]'.") from error
    return constriction.stream


def _family(coder: Any) -> Any:
    """Distributions with 24 bits for each symbol, at least 2⁻²⁴ for each: what they lose is about 1e-5 bits."""
    return coder.model.Categorical(perfect=False)


@contextlib.contextmanager
def _saying(message: str) -> Iterator[None]:
    """A failure of the range coder as an error of ours."""
    try:
        yield
    except (ValueError, AssertionError) as error:
        raise UsageError(message) from error
