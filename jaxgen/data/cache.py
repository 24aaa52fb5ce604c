"""Decoded arrays kept as `.npy` and memory-mapped, so that pictures are decoded once and a second load is instant.

The folder is $JAXGEN_CACHE, else $XDG_CACHE_HOME/jaxgen, else ~/.cache/jaxgen; deleting it loses nothing. An entry is
named by a digest of all that its content depends on, appears under its name only when it is whole, and may be written
by several processes at once. Where it cannot be written (no space, no permission) the arrays stay in memory.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from jaxgen.core.errors import UsageError

Allocate = Callable[[str, tuple[int, ...], Any], np.ndarray]
"""`allocate(name, shape, dtype)`: an array to be filled."""


def cache_folder() -> Path:
    """Where decoded arrays are kept."""
    if chosen := os.environ.get("JAXGEN_CACHE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxgen"


def cached(name: str, identity: Any, fill: Callable[[Allocate], None]) -> dict[str, np.ndarray]:
    """The arrays that `fill` allocates and fills, read-only from the cache, or made now.

    `identity` is a JSON value of everything that the arrays depend on: files with sizes and times, options.
    """
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest()[:16]
    entry = cache_folder() / "data" / f"{name}-{digest}"
    if not entry.is_dir():
        try:
            _write(entry, fill)
        except OSError as error:
            warnings.warn(f"decoded images of {name} stay in memory, {entry} cannot be written: {error}", stacklevel=2)
            return _in_memory(fill)
    try:
        return {file.stem: np.load(file, mmap_mode="r", allow_pickle=False) for file in sorted(entry.glob("*.npy"))}
    except (OSError, ValueError, EOFError) as error:
        raise UsageError(f"{entry}: these decoded images are damaged ({error}); delete the folder") from error


def stamp(*files: Path) -> list[tuple[str, int, int]]:
    """Path, size and modification time of each file, for `identity`."""
    stats = [(file, file.stat()) for file in files]
    return [(str(file.absolute()), s.st_size, s.st_mtime_ns) for file, s in stats]


def _write(entry: Path, fill: Callable[[Allocate], None]) -> None:
    entry.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{entry.name}-", dir=entry.parent))
    try:

        def allocate(name: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
            array = np.lib.format.open_memmap(part / f"{name}.npy", "w+", dtype, shape)
            if hasattr(os, "posix_fallocate"):
                # A full disk must be an OSError here, not a bus error on a later write to the map.
                with open(part / f"{name}.npy", "r+b") as file:
                    os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
            return array

        fill(allocate)
        try:
            part.rename(entry)
        except OSError:
            if not entry.is_dir():  # otherwise another process was first, with the same content
                raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _in_memory(fill: Callable[[Allocate], None]) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}

    def allocate(name: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        return arrays.setdefault(name, np.empty(shape, dtype))

    fill(allocate)
    return arrays
