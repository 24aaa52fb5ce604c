"""Whole files or none: each is written beside its place and renamed into it. And where a user's cache lies."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A place beside `path` to write a file at, which becomes `path` where the block ends well and vanishes where it
    does not."""
    part = path.with_name(path.name + ".part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """The same for a folder that is not there yet. The process's number is part of the place's name."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    shutil.rmtree(part, ignore_errors=True)  # a process that was killed may have had this number
    try:
        part.mkdir(parents=True)
        yield part
        part.rename(path)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def write_json(path: Path, content: Any) -> None:
    """A whole JSON file or none."""
    with whole(path) as part:
        part.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def numbered(folder: Path) -> tuple[int, ...]:
    """The numbers by which folders in a folder are named, ascending; none where that is not there."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.is_dir()]
    except OSError:
        return ()
    return tuple(sorted(int(name) for name in names if name.isascii() and name.isdigit() and len(name) < 20))


def home_path(path: str | os.PathLike[str]) -> Path:
    """A path in which `~` is the user's home, or `~NAME` another's; as it is where nobody knows that one."""
    return Path(os.path.expanduser(path))


def user_cache() -> Path | None:
    """The user's cache folder for jaxgen: $XDG_CACHE_HOME/jaxgen, else ~/.cache/jaxgen. None where nobody knows the
    user's home, as in a container that runs under a number of its own."""
    base = os.environ.get("XDG_CACHE_HOME")
    home = home_path("~")
    if not base and not home.is_absolute():
        return None
    return (Path(base) if base else home / ".cache") / "jaxgen"
