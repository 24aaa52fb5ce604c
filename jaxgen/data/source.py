"""`source("idx:mnist")`: the data set that a user names on a command line.

    digits                         scikit-learn's digits
    scenes                         captioned scenes                size, num, objects, seed
    binarized_mnist[:PATH]         static binarised MNIST
    tfds:NAME[/CONFIG][:VERSION]   a prepared TFDS data set        data_dir, image, label, crop, resize
    idx:FOLDER                     IDX files
    npz:FILE                       arrays                          levels
    folder:DIR                     pictures                        crop, resize
    pairs:DIR                      pictures, and their inputs      inputs (a folder, or left or right), crop, resize
    text:FILE or text:FOLDER       sentences in order              words, length, layout
    stories                        little stories made here        num, words, length
    stacked_mnist:DATA             digits of one of these, stacked   num, seed, and those of DATA
    PATH                           whichever of these lies there

Options follow after commas: `folder:faces,crop=128,resize=32`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxgen.core.errors import UsageError
from jaxgen.core.files import home_path
from jaxgen.data.arrays import digits, idx, idx_names, npz
from jaxgen.data.binarized_mnist import amat_files, binarized_mnist
from jaxgen.data.dataset import Dataset, Source
from jaxgen.data.pairs import pairs
from jaxgen.data.picture_folder import folder
from jaxgen.data.scenes import scenes
from jaxgen.data.synthetic import stacked_mnist
from jaxgen.data.text import stories, text
from jaxgen.data.tfds import ORIGINALS, tfds


class UnknownData(UsageError):
    """What was named is no data set that is known, and no path that is there."""


def source(spec: str) -> Source:
    """The source that `spec` describes; see the top of this file. Nothing is read but the names in a folder.

    Raises `UsageError` for unknown or malformed options. A name or path that is not there raises `UnknownData` when it
    is loaded: a trained run can be opened where its data are not.

    >>> source("digits").load().protocol
    'scikit-learn digits, seeded shuffle, 1437 train / 360 test; validation: a seeded tenth of the training set'
    """
    body, options = _options(spec)
    kind, colon, rest = body.partition(":")
    if colon and kind in KINDS:
        if not rest:
            raise UsageError(f"data {spec!r}: wanted something after {kind!r}:, as in {KINDS[kind][0]}")
        make, allowed = KINDS[kind][1:]
        return _call(spec, make, rest, options, allowed)
    if body in NAMED:
        return _call(spec, NAMED[body][0], None, options, NAMED[body][1])
    path = home_path(body)
    if body and path.exists():
        kind = _guess(path)
        return _call(spec, KINDS[kind][1], str(path), options, KINDS[kind][2])

    def load() -> Dataset:
        raise UnknownData(_unknown(spec, body))

    return Source(spec, load)


def _size(text: str) -> int | tuple[int, int]:
    h, x, w = text.partition("x")
    return (int(h), int(w)) if x else int(h)


def _crop(text: str) -> str | int | tuple[int, int]:
    return text if text == "square" else _size(text)


def _counts(text: str) -> tuple[int, ...]:
    first, dash, last = text.partition("-")
    return tuple(range(int(first), int(last if dash else first) + 1))


def _stacked(of: str, num: int | None = None, seed: int = 0, **options: str) -> Source:
    """Digits of the source `of`, which has the other options, in stacks of three."""
    return stacked_mnist(source(of + "".join(f",{name}={value}" for name, value in options.items())), num, seed)


PICTURES: dict[str, Callable[[str], Any]] = {"crop": _crop, "resize": _size}
WORDS: dict[str, Callable[[str], Any]] = {"words": int, "length": int}
WANTED = {"crop": "square, 32 or 28x20", "resize": "32 or 28x20", **dict.fromkeys(("levels", *WORDS), "a whole number")}
WANTED |= {"size": "a whole number", "num": "a whole number", "objects": "1 or 1-2", "seed": "a whole number"}
NAMED: dict[str, tuple[Callable[..., Source], dict[str, Callable[[str], Any]]]] = {
    "digits": (digits, {}),
    "stories": (stories, {"num": int, **WORDS}),
    "binarized_mnist": (binarized_mnist, {}),
    "scenes": (scenes, {"size": int, "num": int, "objects": _counts, "seed": int}),
}
KINDS: dict[str, tuple[str, Callable[..., Source], dict[str, Callable[[str], Any]]]] = {
    "tfds": ("tfds:mnist", tfds, {"data_dir": str, "image": str, "label": str, **PICTURES}),
    "idx": ("idx:FOLDER", idx, {}),
    "npz": ("npz:FILE.npz", npz, {"levels": int}),
    "folder": ("folder:DIR", folder, PICTURES),
    "pairs": ("pairs:DIR,inputs=DIR", pairs, {"inputs": str, **PICTURES}),
    "binarized_mnist": ("binarized_mnist:PATH", binarized_mnist, {}),
    "stacked_mnist": (
        "stacked_mnist:DATA",
        _stacked,
        {"num": int, "seed": int, **dict.fromkeys(("levels", "data_dir", "image", "label"), str)},
    ),
    "text": ("text:FILE.txt", text, {**WORDS, "layout": str}),
}


def _options(spec: str) -> tuple[str, dict[str, str]]:
    """Splits trailing `,word=value` off: a comma inside a path is left alone."""
    options: dict[str, str] = {}
    while match := re.search(r",([a-z_]+)=([^,]*)$", spec):
        options[match[1]], spec = match[2], spec[: match.start()]
    return spec, options


def _call(
    spec: str, make: Callable[..., Source], first: str | None, options: dict[str, str], allowed: dict[str, Any]
) -> Source:
    values = {}
    for name, typed in options.items():
        if name not in allowed:
            known = "its options are " + ", ".join(allowed) if allowed else "it takes none"
            raise UsageError(f"data {spec!r}: unknown option {name!r}; {known}")
        try:
            values[name] = allowed[name](typed)
        except ValueError as error:
            raise UsageError(f"data {spec!r}: cannot read {name}={typed!r}; {name} wants {WANTED[name]}") from error
    return make(**values) if first is None else make(first, **values)


def _guess(path: Path) -> str:
    if path.is_file():
        if path.suffix.lower() == ".npz":
            return "binarized_mnist" if path.stem == "binarized_mnist" else "npz"
        if path.suffix.lower() == ".txt":
            return "text"
        raise UsageError(f"{path}: wanted a folder or an .npz file, found a {path.suffix or 'nameless'} file")
    if any((split, kind) == ("train", "images") for split, kind, _ in idx_names(path)):
        return "idx"
    if amat_files(path)["train"].is_file() or (path / "binarized_mnist").is_dir():
        return "binarized_mnist"
    return "folder"


def _unknown(spec: str, body: str) -> str:
    kind, colon, _ = body.partition(":")
    names = {name: f"{name}:" for name in KINDS} if colon else {name: f"tfds:{name}" for name in ORIGINALS}
    if not colon:
        names |= {name: name for name in NAMED}
    near = difflib.get_close_matches(kind, names, 1)
    hint = f" Did you mean {names[near[0]]}?" if near else ""
    return (
        f"unknown data {spec!r}: no such name, and no such path.{hint} Known are {', '.join(NAMED)}, "
        f"{', '.join(form for form, *_ in KINDS.values())}, or an existing path."
    )
