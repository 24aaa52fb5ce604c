"""Decoded arrays kept as `.npy` and memory-mapped, so that pictures are decoded once and a second load is instant.

The folder is $JAXGEN_CACHE, else $XDG_CACHE_HOME/jaxgen, else ~/.cache/jaxgen; deleting it loses nothing. An entry is
named by a digest of all that its content depends on, appears under its name only when it is whole, and may be written
by several processes at once, and read by all whom the umask allows to. One that lacks an array or is damaged is made
again. Where it cannot be read or written (no space, no permission, no home) the arrays stay in memory.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from jaxgen.core.files import home_path, user_cache, write_json

Allocate = Callable[[str, tuple[int, ...], Any], np.ndarray]
"""`allocate(name, shape, dtype)`: an array to be filled."""

CONTENTS = "contents.json"
"""The file of an entry that lists its arrays."""


def cache_folder() -> Path | None:
    """Where decoded arrays are kept, or None where nobody knows the user's home."""
    if chosen := os.environ.get("JAXGEN_CACHE"):
        return home_path(chosen)
    return user_cache()


def cached(name: str, identity: Any, fill: Callable[[Allocate], None]) -> dict[str, np.ndarray]:
    """The arrays that `fill` allocates and fills, read-only from the cache, or made now.

    `identity` is a JSON value of everything that the arrays depend on: files with sizes and times, options.
    """
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest()[:16]
    folder = cache_folder()
    if folder is None:
        warnings.warn(f"decoded images of {name} stay in memory, there is no home; set JAXGEN_CACHE", stacklevel=2)
        return _in_memory(fill)
    entry = folder / "data" / f"{name}-{digest}"
    saved = _read(entry)
    if saved is not None:
        return saved
    try:
        _write(entry, fill)
    except OSError as error:
        warnings.warn(f"decoded images of {name} stay in memory, {entry} cannot be written: {error}", stacklevel=2)
        return _in_memory(fill)
    saved = _read(entry)
    return _in_memory(fill) if saved is None else saved


def stamp(*files: Path) -> list[tuple[str, int, int]]:
    """Path, size and modification time of each file, for `identity`."""
    stats = [(file, file.stat()) for file in files]
    return [(str(file.absolute()), s.st_size, s.st_mtime_ns) for file, s in stats]


def _read(entry: Path) -> dict[str, np.ndarray] | None:
    """The arrays of an entry; None where it is not there, not whole, not arrays, or not ours to read."""
    try:
        names = json.loads((entry / CONTENTS).read_text(encoding="utf-8"))
        return {name: np.load(entry / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in names}
    except (OSError, ValueError, EOFError, TypeError, RecursionError):
        return None


def _write(entry: Path, fill: Callable[[Allocate], None]) -> None:
    entry.parent.mkdir(parents=True, exist_ok=True)
    part = entry.with_name(f".{entry.name}-{uuid.uuid4().hex}")  # as private as the umask says, for others to read
    part.mkdir()
    names: list[str] = []
    try:

        def allocate(name: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
            names.append(name)
            array = np.lib.format.open_memmap(part / f"{name}.npy", "w+", dtype, shape)
            if hasattr(os, "posix_fallocate"):
                # A full disk must be an OSError here, not a bus error on a later write to the map.
                with open(part / f"{name}.npy", "r+b") as file:
                    os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
            return array

        fill(allocate)
        write_json(part / CONTENTS, sorted(names))
        _put(part, entry)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _put(part: Path, entry: Path) -> None:
    """Give an entry its name. One that is there and whole was made by another process meanwhile, and stays."""
    try:
        part.rename(entry)
    except OSError:
        if _read(entry) is not None:
            return
        if not entry.is_dir():
            raise
        worn = part.with_name(part.name + ".old")  # not whole, or damaged
        entry.rename(worn)
        try:
            part.rename(entry)
        finally:
            shutil.rmtree(worn, ignore_errors=True)


def _in_memory(fill: Callable[[Allocate], None]) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}

    def allocate(name: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        return arrays.setdefault(name, np.empty(shape, dtype))

    fill(allocate)
    return arrays
