"""The files of the codec: their bytes, their header, and what must match before one is read."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import os
import platform
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import UInt8

from jaxgen import __version__
from jaxgen.codec.programs import Steps
from jaxgen.core.errors import UsageError
from jaxgen.core.model import Variables

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
    header = json.loads(data[start + 4 : end])
    if header["format"] != FORMAT:
        raise UsageError(
            f"{name} has format {header['format']}, jaxgen {__version__} reads {FORMAT}: read it with jaxgen "
            f"{header['jaxgen']}, which made it."
        )
    return header, data[end:]


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
    found = digest(model, variables)
    if header["digest"] != found:
        about = "".join(f", {key} {value}" for key, value in header["about"].items())
        raise UsageError(
            f"{name} was made by another {own}, or another checkpoint of it (digest {header['digest'][:12]}{about}; "
            f"this one's is {found[:12]}): give the run and the step that made it."
        )


def check_floats(header: dict[str, Any], steps: Steps, name: str) -> None:
    """Raises `UsageError` unless the model computes here, float for float, what it computed where a file was made."""
    here = _versions(steps.device)
    for what, value in header["with"].items():
        if here[what] != value:
            raise UsageError(
                f"{name} was made with {what} {value}, here is {what} {here[what]}, where the model may compute other "
                f"floats: read it with {what} {value}."
            )
    if header["probe"] != steps.probe():
        raise UsageError(
            f"{name} was made where the model computes other floats (on {header['machine']}; this is {_machine()}): "
            "read it on such a machine, with the same flags of XLA and the same settings of jax."
        )


def digest(model: Any, variables: Variables) -> str:
    """SHA-256 of a model's settings and its variables, by which a file knows its model."""
    found = hashlib.sha256(repr(model).encode())
    leaves = [(jax.tree_util.keystr(path), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(variables)]
    for path, leaf in sorted(leaves, key=lambda pair: pair[0]):
        array = np.asarray(leaf)
        found.update(f"{path} {array.dtype} {array.shape}".encode())
        found.update(array.tobytes())
    return found.hexdigest()


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
