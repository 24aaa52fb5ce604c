"""`jaxgen evaluate`: a whole split, scored."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import tyro

from jaxgen.cli import flags
from jaxgen.cli.open import Step, open_runs
from jaxgen.cli.output import at_least_one, say
from jaxgen.core.errors import UsageError


@dataclasses.dataclass(kw_only=True)
class Evaluate:
    """Score a whole split: nats per image and bits per dimension. Of several runs, each and the mixture of all."""

    runs: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN [RUN ...]")] = ()
    """Folders of the runs; they share the first one's data."""
    step: Step = "best"
    """Checkpoint: best on validation data, last, or a step."""
    split: Literal["test", "valid", "train"] = "test"
    """Which images."""
    data: flags.text("DATA", "the run's") = ""  # type: ignore[valid-type]
    """Another data set than the run's, as `jaxgen data list` names them."""
    batch: int = 100
    """Images at a time."""
    json: flags.Json = False


def run(args: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    options = flags.parse(Evaluate, args, "jaxgen evaluate")
    at_least_one(batch=options.batch)
    if not options.runs:
        raise UsageError("`jaxgen evaluate` wants RUN; `jaxgen evaluate --help` shows its flags.")
    runs = open_runs(options.runs, options.step, options.batch)
    from jaxgen.engine.evaluate import figures, mixture

    dataset = runs[0].other_data(options.data) if options.data else runs[0].dataset
    for run in runs:  # before any is scored, which may take minutes
        run.scored_data(options.split, dataset)
    scores = [run.log_probs(options.split, dataset, options.batch) for run in runs]
    shape, bounds = runs[0].model.shape, [not run.model.exact for run in runs]
    found = [figures(score, shape, bound) for score, bound in zip(scores, bounds)]
    rows = [(_said(figure), f"step {run.step:,}") for run, figure in zip(runs, found)]
    about: dict[str, Any] = {"split": options.split, "data": dataset.name}
    images = f"{found[0]['count']:,} {options.split} images of {dataset.name}"
    if len(runs) == 1:
        say(options.json, {**found[0], **about, "step": runs[0].step}, f"{rows[0][0]}: {images}, {rows[0][1]}")
        return 0
    mixed = figures(mixture(scores), shape, any(bounds))
    about["runs"] = [{"run": name, "step": run.step, **f} for name, run, f in zip(options.runs, runs, found)]
    width = max(map(len, (*options.runs, "mixture")))
    lines = [f"{name:<{width}}  {figure}, {step}" for name, (figure, step) in zip(options.runs, rows)]
    lines.append(f"{'mixture':<{width}}  {_said(mixed)}: {images}")
    say(options.json, {**mixed, **about}, "\n".join(lines))
    return 0


def _said(figures: Mapping[str, Any]) -> str:
    bound = " (an upper bound)" if figures["bound"] else ""
    return f"{figures['bits_per_dim']:.4g} bits/dim, {figures['nats']:.5g} nats per image{bound}"
