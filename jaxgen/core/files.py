"""Whole files or none: each is written beside its place and renamed into it. And where a user's cache lies."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def write_json(path: Path, content: Any) -> None:
    """A whole JSON file or none."""
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    part.replace(path)


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
