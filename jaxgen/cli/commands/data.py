"""`jaxgen data list | prepare | show`: which data a recipe can be given, and how to get them."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import tyro

from jaxgen.cli import flags
from jaxgen.cli.output import at_least_one, placed
from jaxgen.core.errors import UsageError, nearest


@dataclasses.dataclass(kw_only=True)
class List:
    """The kinds of data that `--data` takes, and the TFDS data sets that are prepared on this machine."""

    json: flags.Json = False


@dataclasses.dataclass(kw_only=True)
class Prepare:
    """Prepare a stock data set for TFDS from its original files, without TensorFlow and without a network."""

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")]
    """mnist, fashion_mnist, binarized_mnist or cifar10."""
    from_: Annotated[str, tyro.conf.arg(name="from", metavar="FOLDER")]
    """Folder of the original files, under their original names."""
    to: flags.text("FOLDER", "$TFDS_DATA_DIR or ~/tensorflow_datasets") = ""  # type: ignore[valid-type]
    """Where TFDS keeps its data sets."""
    json: flags.Json = False


@dataclasses.dataclass(kw_only=True)
class Show:
    """Load a data set, say what it holds, and draw its first images."""

    data: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DATA")]
    """As `jaxgen data list` names them."""
    num: int = 64
    """How many training images the picture shows."""
    output: flags.text("FILE.png", "no picture", "-o") = ""  # type: ignore[valid-type]
    """Where the picture goes."""
    json: flags.Json = False


def run(args: Sequence[str]) -> int:
    """Run `jaxgen data …`; returns its exit code."""
    actions = {"list": _list, "prepare": _prepare, "show": _show}
    if args and args[0] in ("-h", "--help"):
        sys.stdout.write("usage: jaxgen data list | prepare NAME --from FOLDER | show DATA\n\n")
        for name, kind in (("list", List), ("prepare", Prepare), ("show", Show)):
            sys.stdout.write(f"  {name:<10}{kind.__doc__}\n")
        return 0
    if not args or args[0] not in actions:
        came = f", got {args[0]!r}.{nearest(args[0], actions)}" if args else "."
        raise UsageError(f"`jaxgen data` wants list, prepare or show{came}")
    return actions[args[0]](args[1:])


def _list(args: Sequence[str]) -> int:
    options = flags.parse(List, args, "jaxgen data list")
    from jaxgen.data.source import KINDS, NAMED
    from jaxgen.data.tfds import data_home

    home = data_home()
    prepared = sorted({p.parent.relative_to(home).parts[0] for p in home.glob("*/**/features.json")})
    forms = [*NAMED, *(form for form, *_ in KINDS.values())]
    if options.json:
        sys.stdout.write(json.dumps({"forms": forms, "tfds": prepared, "tfds_folder": str(home)}) + "\n")
        return 0
    sys.stdout.write("--data takes one of these, or the path of an .npz, a folder of pictures, or IDX files:\n")
    sys.stdout.write("".join(f"  {form}\n" for form in forms))
    listed = "".join(f"  tfds:{name}\n" for name in prepared) or "  none; `jaxgen data prepare NAME --from FOLDER`\n"
    sys.stdout.write(f"prepared for TFDS in {home}:\n{listed}")
    return 0


def _prepare(args: Sequence[str]) -> int:
    options = flags.parse(Prepare, args, "jaxgen data prepare")
    from jaxgen.data.tfds_prepare import prepare

    prepared = prepare(options.name, options.from_, options.to or None)
    if options.json:
        figures = {"name": prepared.name, "folder": str(prepared.folder), "counts": prepared.counts}
        sys.stdout.write(json.dumps(figures) + "\n")
    else:
        sys.stdout.write(f"{prepared}\nuse it as tfds:{options.name}\n")
    return 0


def _show(args: Sequence[str]) -> int:
    options = flags.parse(Show, args, "jaxgen data show")
    path = placed(options.output, (".png",)) if options.output else None
    at_least_one(num=options.num)
    from jaxgen.data.source import source

    dataset = source(options.data).load()
    described = _described(dataset)
    if path is not None:
        from jaxgen.pictures.grid import write_grid

        image = dataset.train.image[: options.num]
        write_grid(image, max(dataset.levels, int(image.max()) + 1), path)
        described["output"] = str(path)
    if options.json:
        sys.stdout.write(json.dumps(described) + "\n")
        return 0
    size = "×".join(map(str, described["shape"]))
    sys.stdout.write(f"{described['name']}: {size} images, {described['levels']} levels\n{described['protocol']}\n")
    for name, split in described["splits"].items():
        beside = f", {split['classes']} classes" if split["classes"] else ""
        beside += f", conditions of {'×'.join(map(str, split['condition']))}" if split["condition"] else ""
        sys.stdout.write(f"  {name:<6}{split['count']:>9,} images, mean {split['mean']:.4g}{beside}\n")
    if path is not None:
        sys.stdout.write(f"{path}\n")
    return 0


def _described(dataset: Any) -> dict[str, Any]:
    splits: dict[str, Any] = {}
    for name in ("train", "valid", "test"):
        split = getattr(dataset, name)
        if split is not None:
            classes = None if split.label is None else len(set(split.label.tolist()))
            condition = None if split.condition is None else list(split.condition.shape[1:])
            mean = float(split.image.mean())
            splits[name] = {"count": len(split), "mean": mean, "classes": classes, "condition": condition}
    return {
        "name": dataset.name,
        "shape": list(dataset.shape),
        "levels": dataset.levels,
        "protocol": dataset.protocol,
        "transformed": dataset.transform is not None,
        "splits": splits,
    }
