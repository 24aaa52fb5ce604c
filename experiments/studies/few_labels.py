"""What an encoder that was trained without labels is worth where labels are few: test error against their number.

    python experiments/studies/few_labels.py --run RUN
    python experiments/studies/few_labels.py --run RUN --data PATH --labels 100 600 1000 3000 --draws 5

RUN is of any model that encodes images (`autoencoder_mnist`). For each number of labels and each draw of them
(balanced, `jaxgen.data.labelled`) it compares

    fine-tuned, frozen    the recipe `few_labels`: the run's encoder under a linear classifier, trained whole or not
    from scratch          the same net without the run
    logistic regression, SVM    of scikit-learn on codes and on pixels: L2 with C = 1; a Gaussian kernel with C = 10

and writes a table, `few_labels.json` and the picture `few_labels.png`: mean and standard error over draws. All methods
see the same images; no label of validation or test images chooses anything. Every finished cell is a file of its own:
the same command again goes on where it stopped.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
LABELS = (100, 600, 1000, 3000)
BATCH = 50
FROZEN_LR = 1e-2
"""The step size of a head alone; else it is the recipe's."""

METHODS = (
    *("fine-tuned", "frozen", "from scratch", "logistic regression on codes", "SVM on codes"),
    *("logistic regression on pixels", "SVM on pixels"),
)


def main(args: Sequence[str] | None = None) -> int:
    """Train, tell, draw; the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--run", required=True, help="the run of the encoder")
    parser.add_argument("--data", default="tfds:mnist", help="images with labels, as `jaxgen train --data` takes them")
    parser.add_argument("--labels", type=int, nargs="+", default=LABELS, help="how many (default 100 600 1000 3000)")
    parser.add_argument("--draws", type=int, default=5, help="of the labelled images (default 5)")
    parser.add_argument("--steps", type=int, default=1000, help="of each training (default 1000)")
    parser.add_argument("--out", type=Path, default=Path("runs/few_labels_study"), help="where everything goes")
    options = parser.parse_args(args)
    if min(options.draws, options.steps, *options.labels) < 1:
        parser.error("--labels, --draws and --steps are at least 1")
    from jaxgen.core.errors import UsageError
    from jaxgen.pictures.curves import intervals, save

    try:
        rows = study(options)
    except UsageError as error:
        parser.error(str(error))
    sys.stdout.write(table(rows))
    series = {
        method: [(float(r["labels"]), r["error"], r["stderr"] or 0.0) for r in rows if r["method"] == method]
        for method in METHODS
    }
    title = f"{Path(options.run).name}, {options.draws} draws of labels, mean and standard error"
    save(intervals(series, "labelled images", "test error, %", title), options.out / "few_labels.png")
    return 0


def study(options: argparse.Namespace) -> list[dict[str, Any]]:
    """The test error of each method and number of labels, in percent: mean over draws and its standard error.

    Raises `UsageError` where run and data do not fit, labels are not there, or the folder is another study's.
    """
    from experiments.studies.resumed import begin, check
    from jaxgen.core.files import write_json
    from jaxgen.data import Source, labelled

    nets, numbers = Nets(options), sorted({*options.labels})
    settings = {"run": str(Path(options.run).resolve()), "step": nets.run.step, "data": options.data}
    settings |= {"steps": options.steps, "batch": nets.recipes["frozen"].batch}
    cells = options.out / "cells"
    check(options.out, settings)
    drawn = {  # all of them first: what cannot be drawn is refused before anything is trained
        (num, draw): labelled(Source("data", lambda: nets.dataset), num, draw).load().train
        for num in numbers
        for draw in range(options.draws)
    }
    begin(options.out, settings)
    cells.mkdir(exist_ok=True)
    rows = []
    for method in METHODS:
        for num in numbers:
            errors = []
            for draw in range(options.draws):
                path = cells / f"{method.replace(' ', '-').lower()}-{num}-{draw}.json"
                if not path.exists():
                    began = time.perf_counter()
                    error = nets.error(method, drawn[num, draw], draw)
                    write_json(path, {"error": error, "seconds": round(time.perf_counter() - began, 2)})
                    sys.stderr.write(f"{method}, {num} labels, draw {draw}: {error:.2f} %\n")
                errors.append(json.loads(path.read_text(encoding="utf-8"))["error"])
            spread = float(np.std(errors, ddof=1) / np.sqrt(len(errors))) if len(errors) > 1 else None
            rows.append({"method": method, "labels": num, "error": float(np.mean(errors)), "stderr": spread})
            write_json(options.out / "few_labels.json", {"settings": settings, "rows": rows})
    return rows


class Nets:
    """The run, its data, and the programs of the recipe, which all numbers and draws of labels share."""

    def __init__(self, options: argparse.Namespace):
        from jaxgen.core.capabilities import Encoder, require
        from jaxgen.core.errors import UsageError
        from jaxgen.runs.grafts import read
        from jaxgen.runs.load import load
        from jaxgen.runs.recipes.build import build
        from jaxgen.runs.recipes.file import load_file

        self.run = load(options.run)
        require(self.run.model, Encoder, "encode images for few labels")
        file = load_file(ROOT / "experiments/latent/few_labels.py")
        knobs = {"of": options.run, "data": options.data, "steps": options.steps, "labels": 0}
        knobs["batch"] = min(BATCH, *options.labels)
        self.recipes = {
            "fine-tuned": build(file, knobs),
            "frozen": build(file, knobs | {"frozen": True, "lr": FROZEN_LR}),
        }
        self.parts = {method: read(recipe)[0] for method, recipe in self.recipes.items()}
        self.programs = {method: programs(recipe) for method, recipe in self.recipes.items()}
        self.recipes["from scratch"], self.parts["from scratch"] = self.recipes["fine-tuned"], {}
        self.programs["from scratch"] = self.programs["fine-tuned"]
        self.dataset = self.recipes["fine-tuned"].data.load()
        self.run.check(self.dataset.shape, self.dataset.levels, self.dataset.name)
        if self.dataset.test is None:
            raise UsageError(f"{self.dataset.name} has no test split, on which errors are counted: give other data.")
        for split in (self.dataset.train, self.dataset.test):
            self.recipes["frozen"].model.check_data(dict(split.items()))

    def error(self, method: str, train: Any, draw: int) -> float:
        """Percent of the test images that the method errs on, having seen these labelled images."""
        if method in self.recipes:
            return self._trained(method, train, draw)
        see = self.codes if method.endswith("codes") else pixels
        x, test = see(train.image), self.test_codes if method.endswith("codes") else pixels(self.dataset.test.image)
        mean, scale = x.mean(axis=0), x.std(axis=0)
        scale = np.sqrt((scale**2).mean())  # one for all coordinates: those that hardly vary stay small
        predicted = classifier(method).fit((x - mean) / scale, train.label).predict((test - mean) / scale)
        return float(100 * (predicted != self.dataset.test.label).mean())

    def _trained(self, method: str, train: Any, draw: int) -> float:
        """The recipe's training and its error at the last step; the draw is the seed of parameters and order too."""
        import jax

        from jaxgen.engine.evaluate import evaluate
        from jaxgen.engine.feed import indices

        recipe = self.recipes[method]
        begin, step = self.programs[method]
        key = jax.random.key(draw)
        first = {"image": train.image[: recipe.batch], "label": train.label[: recipe.batch]}
        state = begin(key, first, self.parts[method])
        for number in range(recipe.steps):
            rows = indices(draw, number, recipe.batch, len(train))
            state, _ = step(state, {"image": train.image[rows], "label": train.label[rows]})
        return float(evaluate(recipe.model, state.variables, self.dataset.test, batch=500)["error"])

    def codes(self, image: np.ndarray) -> np.ndarray:
        """Those of the run's encoder."""
        return np.asarray(self.run.encode(image), np.float64)

    @functools.cached_property
    def test_codes(self) -> np.ndarray:
        """Codes of all test images."""
        return self.codes(self.dataset.test.image)


def programs(recipe: Any) -> tuple[Any, Any]:
    """How a recipe's state begins, with a key, a batch and parts of other runs, and its step: each compiled once."""
    import jax

    from jaxgen.engine.state import init_state
    from jaxgen.engine.step import make_step

    def begin(key: Any, batch: Any, parts: Mapping[str, Any]) -> Any:
        state = init_state(recipe, batch, start=recipe.model.init(key, batch), grafts=parts)
        return dataclasses.replace(state, key=jax.random.fold_in(key, 1))

    return jax.jit(begin), jax.jit(make_step(recipe), donate_argnums=0)


def pixels(image: np.ndarray) -> np.ndarray:
    """Images as vectors."""
    return image.reshape(len(image), -1).astype(np.float64)


def classifier(method: str) -> Any:
    """scikit-learn's, untrained."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import SVC

    return SVC(C=10.0) if method.startswith("SVM") else LogisticRegression(C=1.0, max_iter=10_000)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Test error in percent, mean ± standard error: a line for each method, in Markdown."""
    numbers = list(dict.fromkeys(row["labels"] for row in rows))
    told = {
        (r["method"], r["labels"]): f"{r['error']:.2f}" + ("" if r["stderr"] is None else f" ± {r['stderr']:.2f}")
        for r in rows
    }
    lines = ["| test error, % | " + " | ".join(f"{number:,} labels" for number in numbers) + " |"]
    lines += ["|---" * (1 + len(numbers)) + "|"]
    lines += [f"| {method} | " + " | ".join(told[method, number] for number in numbers) + " |" for method in METHODS]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
