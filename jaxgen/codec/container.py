"""The files of the codec: their bytes, their header, and what must match before one is read."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import UInt8

from jaxgen import __version__
from jaxgen.codec.programs import Steps
from jaxgen.core.errors import UsageError
from jaxgen.core.model import Variables

KINDS = ("|u1", "|i1", "<u2", "<i2", "<i4")
"""How labels may be stored, the smallest first."""

NUMBERS = "<f4"
"""How vectors and maps are stored."""

MAGIC = b"\x89jaxgen\n"
FORMAT = 2


def pack(header: dict[str, Any], payload: bytes) -> bytes:
    """A file from its header and what follows."""
    text = json.dumps({"format": FORMAT, "jaxgen": __version__, **header}, separators=(",", ":")).encode()
    rest = len(text).to_bytes(4, "little") + text + payload
    return MAGIC + hashlib.sha256(rest).digest() + rest


def unpack(data: bytes, name: str) -> tuple[dict[str, Any], bytes]:
    """The header of a file and what follows. Raises `UsageError` where it is no such file, or is damaged."""
    start = len(MAGIC) + 32
    if data[: len(MAGIC)] != MAGIC:
        raise UsageError(f"{name} is no file of `jaxgen compress`: it does not begin as they do.")
    if hashlib.sha256(data[start:]).digest() != data[len(MAGIC) : start]:
        raise UsageError(f"{name} is damaged or cut short (its checksum differs): fetch or copy it again.")
    end = start + 4 + int.from_bytes(data[start : start + 4], "little")
    try:
        header = json.loads(data[start + 4 : end])
        wrong = "" if isinstance(header, dict) else "it is no record"
        if not wrong and header.get("format") == FORMAT:
            wrong = ", ".join(key for key, fits in FIELDS.items() if key not in header or not fits(header[key]))
    except (ValueError, RecursionError) as error:
        wrong = str(error) or type(error).__name__
    if wrong:
        raise UsageError(f"{name} is no file of `jaxgen compress`: its header cannot be read ({wrong}).")
    if header.get("format") != FORMAT:
        maker = f"jaxgen {header['jaxgen']}" if "jaxgen" in header else "the jaxgen"
        raise UsageError(
            f"{name} has format {header.get('format')}, jaxgen {__version__} reads {FORMAT}: read it with {maker}, "
            "which made it."
        )
    return header, data[end:]


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _whole(value: Any) -> bool:
    return type(value) is int and value > 0


FIELDS: dict[str, Callable[[Any], bool]] = {
    "jaxgen": _text,
    "model": _text,
    "digest": _text,
    "shape": lambda value: isinstance(value, list) and len(value) == 3 and all(map(_whole, value)),
    "levels": _whole,
    "batch": _whole,
    "with": lambda value: isinstance(value, dict),
    "machine": _text,
    "probe": _text,
    "count": _whole,
    "labels": lambda value: value is None or value in KINDS or value == NUMBERS,
    "images": _text,
    "about": lambda value: isinstance(value, dict),
}
"""What a header holds, and what each may be: a file is made by whoever likes."""


def described(steps: Steps) -> dict[str, Any]:
    """The part of a header that says with what a file was made."""
    model = steps.model
    return {
        "model": type(model).__name__,
        "digest": digest(model, steps.variables),
        "shape": list(model.shape),
        "levels": model.levels,
        "batch": steps.batch,
        "with": _versions(steps.device),
        "machine": _machine(),
        "probe": steps.probe(),
    }


def check_model(header: dict[str, Any], model: Any, variables: Variables, name: str) -> None:
    """Raises `UsageError` unless this is the model that a file was made with."""
    own = type(model).__name__
    if header["model"] != own:
        raise UsageError(f"{name} was made by a {header['model']}, this is a {own}: give the run that made it.")
    for what, value in (("shape", list(model.shape)), ("levels", model.levels)):
        if header[what] != value:
            raise UsageError(
                f"{name} holds images of {what} {header[what]}, this {own}'s have {value}: give the run that made it."
            )
    present = digest(model, variables)
    if header["digest"] != present:
        about = "".join(f", {key} {value}" for key, value in header["about"].items())
        raise UsageError(
            f"{name} was made by another {own}, or another checkpoint of it (digest {header['digest'][:12]}{about}; "
            f"this one's is {present[:12]}): give the run and the step that made it."
        )


def check_floats(header: dict[str, Any], steps: Steps, name: str) -> None:
    """Raises `UsageError` unless the model computes here, float for float, what it computed where a file was made."""
    versions = _versions(steps.device)
    for what, value in header["with"].items():
        if versions.get(what) != value:
            raise UsageError(
                f"{name} was made with {what} {value}, here is {what} {versions.get(what)}, where the model may "
                f"compute other floats: read it with {what} {value}."
            )
    if header["probe"] != steps.probe():
        raise UsageError(
            f"{name} was made where the model computes other floats (on {header['machine']}; this is {_machine()}): "
            "read it on such a machine, with the same flags of XLA and the same settings of jax."
        )


def digest(model: Any, variables: Variables) -> str:
    """SHA-256 of a model's settings and its variables, by which a file knows its model."""
    checksum = hashlib.sha256(repr(model).encode())
    leaves = [(jax.tree_util.keystr(path), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(variables)]
    for path, leaf in sorted(leaves, key=lambda pair: pair[0]):
        array = np.asarray(leaf)
        checksum.update(f"{path} {array.dtype} {array.shape}".encode())
        checksum.update(array.tobytes())
    return checksum.hexdigest()


def checksum(image: UInt8[np.ndarray, "b h w c"]) -> str:
    """SHA-256 of images."""
    return hashlib.sha256(image.tobytes()).hexdigest()


def _versions(device: Any) -> dict[str, str]:
    """Versions and device, which must be the same on both sides."""
    versions = {package: importlib.metadata.version(package) for package in ("jax", "jaxlib", "constriction")}
    return versions | {"device": device.device_kind, "machine": platform.machine()}


def _machine() -> str:
    """The processor and how many of its cores may be used: what explains other floats on a CPU."""
    name = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} cores"
