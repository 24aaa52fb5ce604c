"""StackedMNIST as a cell of the study of mode collapse: a run of `stacked_mnist` for each seed, whose modes are counted
by a classifier of single digits."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
NAME = "stacked_mnist"


def check(options: argparse.Namespace) -> None:
    """Raises `UsageError` without digits and a classifier of them, and where the folder holds runs of other ones."""
    from experiments.studies import resumed
    from jaxgen.core.errors import UsageError

    if not (options.digits and options.judge):
        raise UsageError(
            f"{NAME} wants --digits, grey digits with labels as `jaxgen train --data` takes them, and --judge, the run "
            "of a classifier of these."
        )
    judge(options).check(of(options).load().shape, 256)
    settings = {"digits": options.digits, "judge": str(Path(options.judge).resolve())}
    resumed.check(options.out / NAME, settings)
    resumed.begin(options.out / NAME, settings)


def trained(loss: str, order: str, options: argparse.Namespace) -> list[dict[str, float | None]]:
    """The figures of each seed, a run folder each; those of one that diverged are no modes and no KL. What is done is
    read from its file."""
    from jaxgen.core.files import write_json

    figures = []
    for seed in range(options.seeds):
        folder = options.out / NAME / f"{loss}-{order}-{seed}"
        done = folder / "figures.json"
        if not done.exists():
            write_json(done, run_of(folder, loss, order, seed, options))
        figures.append(json.loads(done.read_text(encoding="utf-8")))
    return figures


def run_of(folder: Path, loss: str, order: str, seed: int, options: argparse.Namespace) -> dict[str, float | None]:
    """The figures of one run, trained to its end."""
    from experiments.studies.gan_losses import Stopped
    from jaxgen.cli.commands import train
    from jaxgen.engine.reporter import Diverged
    from jaxgen.runs.load import load

    flags = ["--data", f"{NAME}:{options.digits}", "--loss", loss, "--seed", str(seed), "--steps", str(options.steps)]
    flags += ["--batch", str(options.batch), "--features", str(options.width), "--latent", str(options.latent)]
    flags += ["--lr", str(options.lr), "--evaluate-every", str(options.steps)]
    flags += ["--penalty", "two-sided"] if loss == "wgan" else []
    flags += ["--replacement"] if order == "replacement" else []
    try:
        code = train.run([str(ROOT / "experiments/gan/stacked_mnist.py"), *flags, "--run", str(folder)])
    except Diverged:
        return {"modes": 0.0, "good": None, "kl": None}
    if code:
        raise Stopped(code)
    run = load(folder)
    told = judge(options).judge(run.sample(options.num, seed), run.dataset.valid.image, run.model.levels, None)
    figures = {name.partition("[")[0]: value for name, value in told.items()}
    return {"modes": figures["modes"], "good": None, "kl": figures["kl"]}


def floor(options: argparse.Namespace) -> dict[str, float | None]:
    """The figures of as many stacks of real digits, as the classifier reads them."""
    from jaxgen.metrics.modes import stacked_modes
    from jaxgen.runs.feature_judge import features_run
    from jaxgen.runs.modes_judge import digits_of

    dataset = of(options).load()
    digits = digits_of(features_run(options.judge), dataset.valid.image, dataset.levels)
    figures = stacked_modes(np.zeros((options.num, 3), int), digits)
    return {"modes": figures["floor_modes"], "good": None, "kl": figures["floor_kl"]}


def of(options: argparse.Namespace) -> Any:
    """The stacks."""
    from jaxgen.data.source import source

    return source(f"{NAME}:{options.digits}")


def judge(options: argparse.Namespace) -> Any:
    """Who counts."""
    from jaxgen.runs.modes_judge import ModesJudge

    return ModesJudge(classifier=options.judge, num=options.num)
