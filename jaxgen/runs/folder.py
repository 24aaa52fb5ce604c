"""Run folders: what a run leaves behind.

    run.json        recipe and knobs, model, data, versions, command
    recipe/         the recipe's file and the local modules that it imports
    grafts/         of the runs whose models the recipe builds on, record and recipe: with its own, the only code that
                    is executed again
    checkpoints/    the last few states and the best
    metrics.jsonl   figures by step;  tensorboard/  the same;  samples/  grids by step
    result.json     what was reached, once the run is complete

A folder appears whole, by a rename; one that is there and empty (a mount point, the working directory) is filled, with
`run.json` last, which makes it a run. Nothing in it is a pickle, and nothing here executes anything of it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxgen.core.errors import UsageError
from jaxgen.core.files import whole_folder, write_json
from jaxgen.runs import recipes
from jaxgen.runs.lock import claimed
from jaxgen.runs.recipes import sources

FORMAT = 2
"""The form of `run.json` that this version writes and reads."""

LARGEST = 256 << 20
"""Bytes of a file that is read; no run writes larger ones."""

ON_NEW_DISKS = ("lost+found",)
"""What an empty folder may hold that is the root of a disk."""


class Unreadable(UsageError):
    """A run's folder that does not hold what it should, with the reason."""

    def __init__(self, folder: Path, reason: str):
        super().__init__(f"{folder} cannot be read as a run: {reason}.")
        self.reason = reason


@dataclasses.dataclass(frozen=True)
class RunRecord:
    """What `run.json` says: the copied recipe, all its knobs, and about (versions, command, …)."""

    folder: Path
    file: recipes.RecipeFile
    settings: dict[str, Any]
    about: dict[str, Any]


def is_run(folder: str | Path) -> bool:
    """Whether a run lies in the folder."""
    return (Path(folder) / "run.json").is_file()


def read_run(folder: str | Path) -> RunRecord:
    """What a run's folder says of it, without executing anything. Raises `UsageError` where it is no run's folder."""
    folder = Path(folder)
    about = read_record(folder)
    name, settings, _ = about.pop("recipe"), about.pop("knobs"), about.pop("format")
    path = folder / "recipe" / name
    file = recipes.load_file(path, roots=(path.parent.resolve(),))
    return RunRecord(folder, dataclasses.replace(file, home=folder), file.settings(settings), about)


def read_record(folder: Path) -> dict[str, Any]:
    """`run.json`, with "format", "recipe" and "knobs" as this version writes them. Raises `UsageError` where the folder
    is no run's, `Unreadable` where the file is broken or another version's."""
    if not folder.is_dir():
        raise UsageError(
            f"there is no run {folder}: `jaxgen train RECIPE` makes one, and `jaxgen runs` lists those below ./runs."
        )
    if not os.path.lexists(folder / "run.json"):
        raise UsageError(
            f"{folder} is no run folder: it has no run.json; `jaxgen runs {folder}` lists those below it, and `jaxgen "
            "train RECIPE --run FOLDER` makes one."
        )
    about = read_object(folder, "run.json")
    form, name = about.get("format"), about.get("recipe")
    if "format" in about and form != FORMAT:
        raise Unreadable(
            folder, f"run.json has format {form}, this jaxgen reads {FORMAT}: open it with {_writer(about)}"
        )
    if form is None or not isinstance(name, str) or not isinstance(about.get("knobs"), dict):
        raise Unreadable(folder, "run.json is not the record of a run")
    if Path(name).name != name:  # what is executed must lie in this very run
        raise Unreadable(folder, f"run.json names the recipe {name!r}, which is no file's name")
    return about


def read_object(folder: Path, name: str) -> dict[str, Any]:
    """A JSON object from a file of a run. Raises `Unreadable` where it holds something else."""
    try:
        check_file(folder, name)
        content = json.loads((folder / name).read_bytes())
    except OSError as error:
        raise Unreadable(folder, f"{name}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, Unreadable):
            raise
        raise Unreadable(folder, f"{name} is not JSON") from error
    if not isinstance(content, dict):
        raise Unreadable(folder, f"{name} is not the record of a run")
    return content


def check_file(folder: Path, name: str) -> None:
    """Raises `Unreadable` for what is no file (a pipe would be waited for) or too large for one of a run's."""
    path = folder / name
    if path.exists() and not path.is_file():
        raise Unreadable(folder, f"{name} is no file")
    if path.stat().st_size > LARGEST:
        raise Unreadable(folder, f"{name} is larger than {LARGEST >> 20} MiB")


def _writer(about: Mapping[str, Any]) -> str:
    """The version that wrote a record, as far as it says."""
    versions = about.get("versions")
    name = versions.get("jaxgen") if isinstance(versions, Mapping) else None
    return f"jaxgen {name}, which wrote it" if isinstance(name, str) else "the version that wrote it"


def default_folder(file: recipes.RecipeFile, settings: Mapping[str, Any]) -> Path:
    """`runs/NAME`, followed by the knobs that differ from their defaults: the same command finds the same folder."""
    changed = [f"{k}={v}" for k, v in settings.items() if v != file.defaults.get(k)]
    name = re.sub(r"[^\w.,=+-]+", "_", "-".join([file.label, *changed]))
    if len(name) > 100:
        name = name[:90] + "-" + hashlib.sha256("-".join(changed).encode()).hexdigest()[:8]
    return Path("runs") / name


def grafted_run(folder: Path, name: str) -> Path:
    """Where a run keeps record and recipe of another, on whose model its own recipe builds by that name."""
    stem, digest = re.sub(r"[^\w.,=+-]+", "_", Path(name).name)[:60], hashlib.sha256(name.encode()).hexdigest()[:8]
    return folder / "grafts" / f"{stem}-{digest}"


def open_folder(
    folder: Path,
    file: recipes.RecipeFile,
    settings: Mapping[str, Any],
    about: Mapping[str, Any],
    fresh: bool = False,
    asked: Mapping[str, Path] | None = None,
) -> bool:
    """Make the folder of a run, or find that it holds this very run. Returns whether it was there.

    Of the runs that its recipe `asked` for, by the names that it gives them, record and recipe are copied into it.
    With `fresh` an earlier run is moved aside, to the same name with a number; behind a link both stay where it leads.
    Raises `UsageError` where the folder holds something else, saying what differs, or where a process trains in it.
    """
    check_folder(folder, file, settings, fresh)
    if is_run(folder) and not fresh:
        _check_data(folder, read_run(folder).about, about)
        return True
    record = {"format": FORMAT, "recipe": file.path.name, "knobs": dict(settings), **about}
    place = folder.resolve()
    if place.is_dir() and not is_run(place):
        _fill(place, file, record, asked or {})
        return False
    with whole_folder(place) as part:
        _fill(part, file, record, asked or {})
        if is_run(place):
            with claimed(folder):
                place.rename(_aside(place))
    return False


def _fill(folder: Path, file: recipes.RecipeFile, record: Mapping[str, Any], asked: Mapping[str, Path]) -> None:
    """Write what a run begins with into an empty folder, which is a run only when it is whole, and empty otherwise."""
    try:
        for name, original in sources.sources(file.path, file.roots).items():
            copy = folder / "recipe" / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(original, copy)
        for name, run in asked.items():
            copy = grafted_run(folder, name)
            copy.mkdir(parents=True)
            shutil.copyfile(run / "run.json", copy / "run.json")
            for inner in ("recipe", "grafts"):
                if (run / inner).is_dir():
                    shutil.copytree(run / inner, copy / inner)
        write_json(folder / "run.json", record)
    except BaseException:
        for inner in ("recipe", "grafts"):
            shutil.rmtree(folder / inner, ignore_errors=True)
        raise


def _aside(folder: Path) -> Path:
    """The same name with the first number that is free."""
    number = 1
    while (aside := folder.with_name(f"{folder.name}.{number}")).exists():
        number += 1
    return aside


def check_folder(folder: Path, file: recipes.RecipeFile, settings: Mapping[str, Any], fresh: bool = False) -> None:
    """Raises `UsageError` unless the folder is free, or holds a run of this recipe with these knobs (or of any, if
    `fresh`)."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file: give a folder for the run with --run.")
    if not is_run(folder):
        if folder.is_dir() and any(path.name not in ON_NEW_DISKS for path in folder.iterdir()):
            raise UsageError(f"{folder} holds something that is no run: give another folder with --run.")
        _check_writable(folder, folder.resolve())
        return
    if fresh:
        _check_movable(folder, folder.resolve())
        return
    changes = differences(read_run(folder), file, settings)
    if changes:
        raise UsageError(
            f"{folder} holds another run: {'; '.join(changes)}. Give the same recipe and knobs to resume it, another "
            "--run folder, or --fresh to move it aside."
        )


def _check_writable(folder: Path, place: Path) -> None:
    """Raises `UsageError` unless a run can be written at its place: in the folder, or where that is to be made."""
    nearest_path = next(path for path in (place, *place.parents) if path.exists())
    if not nearest_path.is_dir():
        raise UsageError(f"{folder} cannot be made, {nearest_path} is a file: give another folder with --run.")
    if not os.access(nearest_path, os.W_OK | os.X_OK):
        raise UsageError(
            f"{folder} cannot be made, {nearest_path} cannot be written to: give another folder with --run."
        )


def _check_movable(folder: Path, place: Path) -> None:
    """Raises `UsageError` where a folder cannot be moved aside: it stands fast, or its parent is not ours."""
    fast = "a disk is mounted there" if place.is_mount() else ""
    if Path.cwd().is_relative_to(place):
        fast = "it is the working directory, or above that"
    elif not os.access(place.parent, os.W_OK | os.X_OK):
        fast = f"{place.parent} cannot be written to"
    if fast:
        raise UsageError(f"--fresh cannot move {folder} aside, {fast}: give another folder with --run.")


def _check_data(folder: Path, then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raises `UsageError` where a run was started on other data, or with other parts of other runs: its best step, its
    splits and its record would mean nothing."""
    for name, what in (("examples", "count of images"), ("digest", "checksum")):
        if name in then and name in now and then[name] != now[name]:
            raise UsageError(
                f"{folder} was started on other data: their {what} was {then[name]}, and is {now[name]}. Bring those "
                "back to resume it, or give another --run folder, or --fresh to move it aside."
            )
    if "grafts" in then and "grafts" in now and then["grafts"] != now["grafts"]:
        runs = ", ".join(dict.fromkeys(graft["run"] for graft in now["grafts"]))
        raise UsageError(
            f"{folder} was to begin with other parts than {runs} has now: bring those back to resume it, or give "
            "another --run folder, or --fresh to move it aside."
        )


def differences(record: RunRecord, file: recipes.RecipeFile, settings: Mapping[str, Any]) -> list[str]:
    """How a recipe with its knobs differs from what a run was started with; nothing where it is the same program."""
    if record.file.name != file.name:
        return [f"its recipe is {record.file.name}, not {file.name}"]
    changes = []
    for knob in [*record.settings, *(k for k in settings if k not in record.settings)]:
        then_value, now_value = record.settings.get(knob, "absent"), settings.get(knob, "absent")
        if then_value != now_value:
            changes.append(f"{knob} is {then_value} there, {now_value} here")
    then, now = (sources.sources(f.path, f.roots) for f in (record.file, file))
    for name in sorted(then.keys() | now.keys()):
        if name not in then or name not in now or not sources.same_code(then[name], now[name]):
            changes.append(f"{name} has changed")
    return changes
