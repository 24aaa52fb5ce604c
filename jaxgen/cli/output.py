"""Where a command's result goes, and how it is said: text, or JSON."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxgen.core.errors import UsageError
from jaxgen.core.files import home_path, whole


def table(rows: Sequence[Sequence[str]], names: Sequence[str], right: Sequence[str] = ()) -> None:
    """Print rows as a table as wide as the terminal, or as wide as it needs where there is none."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 200)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        table.add_column(name, justify="right" if name in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    with console.capture() as capture:
        console.print(table)
    sys.stdout.write("\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n")


def output(options: Any, default: str, suffixes: tuple[str, ...]) -> Path:
    """Where the result goes: --output, or a name in the run's folder. Raises `UsageError` where that cannot be."""
    if options.output:
        return placed(options.output, suffixes)
    path = Path(options.run) / default
    if path.parent.is_dir():  # what is no run is refused when it is opened
        _check_place(path, "--output")
    return path


def placed(name: str, suffixes: tuple[str, ...], flag: str = "--output") -> Path:
    """The file that a flag names for a result. Raises `UsageError`, before anything is computed, for a name with none
    of the suffixes, in letters of either case, and where no file can be written."""
    path = home_path(name)
    if path.suffix.lower() not in suffixes:
        ends = " or ".join([", ".join(suffixes[:-1]), suffixes[-1]] if suffixes[1:] else suffixes)
        raise UsageError(f"{flag} wants a name that ends in {ends}, got {str(path)!r}.")
    _check_place(path, flag)
    return path


def new_folder(name: str, flag: str, or_empty: bool = False) -> Path:
    """The folder that a flag names, which is to be made. Raises `UsageError` where something lies there already, but
    an empty folder if that will do, and where none can be made."""
    path = home_path(name)
    if path.exists() and not (or_empty and path.is_dir() and not any(path.iterdir())):
        raise UsageError(f"{flag} {path}: something lies there already, give a new folder.")
    _check_place(path, flag, folder=True)
    return path


def _check_place(path: Path, flag: str, folder: bool = False) -> None:
    """Raises `UsageError` unless something of that name can be written."""
    parent, wrong = path.absolute().parent, ""
    if path.is_dir() and not folder:
        wrong = "it is a folder"
    elif not parent.is_dir():
        wrong = f"{'the folder above it' if folder else 'its folder'} is not there"
    elif not os.access(parent, os.W_OK | os.X_OK):
        wrong = f"{parent} cannot be written to, name another place with {flag}"
    if wrong:
        raise UsageError(f"{flag} {path}: {wrong}.")


def write_npz(path: Path, **arrays: Any) -> None:
    """Arrays by name as a compressed .npz. Whole file or none."""
    import numpy as np

    with whole(path) as part, part.open("wb") as file:
        np.savez_compressed(file, **arrays)


def said(figures: Mapping[str, Any], bound: bool = False) -> str:
    """Figures of examples in a line: their means, and standard errors where they are known."""
    parts = []
    if "nats" in figures and "bits_per_dim" in figures:
        error = f" ± {figures['nats_stderr']:.2g}" if "nats_stderr" in figures else ""
        note = " (an upper bound)" if bound else ""
        parts.append(f"{figures['bits_per_dim']:.4g} bits/dim, {figures['nats']:.5g}{error} nats per image{note}")
    for name, value in figures.items():
        if isinstance(value, float) and name not in ("nats", "bits_per_dim") and not name.endswith("_stderr"):
            error = f" ± {figures[f'{name}_stderr']:.2g}" if f"{name}_stderr" in figures else ""
            parts.append(f"{name} {value:.5g}{error}")
    return ", ".join(parts)


def at_least_one(**counts: int) -> None:
    """Raises `UsageError` for the first of the flags that is below 1."""
    for name, count in counts.items():
        if count < 1:
            raise UsageError(f"--{name} must be at least 1, got {count}.")


def say(as_json: bool, figures: Mapping[str, Any], text: str) -> None:
    """What a command has to say, as JSON or as text."""
    sys.stdout.write((json.dumps(figures) if as_json else text) + "\n")
