"""How much of what sentences ask for is in the pictures that models draw by them: attributes read back, by kind.

    python experiments/studies/scene_attributes.py --runs RUN [RUN ...] --reader READER

RUNs are of models that are told sentences of scenes (`scenes_text`, `gated_scenes`), READER is one of `scenes_reader`.
Each run draws a picture by each of the first test sentences of its own data, and a table tells the percentage of
attributes that are read as asked for: of all, of shapes, colours, places, sizes and backgrounds, and of pictures
without a fault. Beside them stand the ceiling, which the reader reads off the real scenes of these sentences, and
chance, off real scenes of other sentences. With `--objects 1` only sentences of one object count.

Every finished run is a file of its own in the folder: the same command again goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))


def main(args: Sequence[str] | None = None) -> int:
    """Draw, read, tell; the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--runs", required=True, nargs="+", help="runs of models that are told sentences")
    parser.add_argument("--reader", required=True, help="a run of scenes_reader")
    parser.add_argument("--num", type=int, default=500, help="pictures of each run (default 500)")
    parser.add_argument("--objects", type=int, choices=(1, 2, 3), help="only sentences of so many (default: all)")
    parser.add_argument("--out", type=Path, default=Path("runs/scene_attributes"), help="where everything goes")
    options = parser.parse_args(args)
    if options.num < 2:
        parser.error("--num is at least 2")
    from jaxgen.core.errors import UsageError

    try:
        rows = study(options)
    except UsageError as error:
        parser.error(str(error))
    sys.stdout.write(table(rows))
    return 0


def study(options: argparse.Namespace) -> dict[str, dict[str, dict[str, float]]]:
    """By run the figures of its samples, their ceiling and chance. Raises `UsageError` for a run that is told nothing
    of scenes, and where the folder is another study's."""
    from experiments.studies.resumed import begin, check
    from jaxgen.core.files import write_json
    from jaxgen.runs.load import load
    from jaxgen.runs.scene_judge import compared, open_reader

    reader = open_reader(options.reader)
    settings = {"reader": str(Path(options.reader).resolve()), "num": options.num, "objects": options.objects}
    check(options.out, settings)
    begin(options.out, settings)
    rows = {}
    for folder in options.runs:
        run = load(folder)
        path = options.out / f"{Path(folder).name}-{run.step}.json"
        if not path.exists():
            dataset = run.dataset if options.objects is None else of_objects(run.dataset, options.objects)
            write_json(path, compared(run, reader, dataset, options.num))
        rows[Path(folder).name] = json.loads(path.read_text(encoding="utf-8"))
    return rows


def of_objects(dataset: Any, count: int) -> Any:
    """A data set whose test split has scenes of so many objects alone."""
    import dataclasses

    from jaxgen.data.dataset import take
    from jaxgen.data.scene_sentences import NUMBER

    objects = dataset.test["attribute"][:, NUMBER["objects"]] + 1
    return dataclasses.replace(dataset, test=take(dataset.test, np.flatnonzero(objects == count)))


def table(rows: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """The figures of each run in percent, with the ceiling and chance of each."""
    kinds = list(next(iter(rows.values()))["samples"])
    width = max(len(f"{run}, samples") for run in rows)
    lines = [" " * width + "".join(f"{kind:>12}" for kind in kinds)]
    for run, figures in rows.items():
        for name, values in figures.items():
            lines.append(f"{f'{run}, {name}':<{width}}" + "".join(f"{values.get(k, np.nan):>12.1f}" for k in kinds))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
