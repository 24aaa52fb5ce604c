"""A study's folder is its own: what is finished in it is taken up again, by a study of the same settings only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxgen.core.errors import UsageError
from jaxgen.core.files import write_json

SETTINGS = "settings.json"


def check(out: Path, settings: Mapping[str, Any]) -> None:
    """Raises `UsageError` where the folder holds a study of other settings. Writes nothing."""
    about = out / SETTINGS
    then = json.loads(about.read_text(encoding="utf-8")) if about.exists() else settings
    for name, now in settings.items():
        if then[name] != now:
            raise UsageError(f"{out} holds a study whose {name} is {then[name]}, not {now}: choose another --out.")


def begin(out: Path, settings: Mapping[str, Any]) -> None:
    """The folder, with the settings in it."""
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / SETTINGS, settings)
