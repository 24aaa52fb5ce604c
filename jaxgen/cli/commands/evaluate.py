"""`jaxgen evaluate`: a whole split, scored."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import tyro

from jaxgen.cli import flags
from jaxgen.cli.open import Step, open_runs
from jaxgen.cli.output import at_least_one, said, say
from jaxgen.core.errors import UsageError


@dataclasses.dataclass(kw_only=True)
class Evaluate:
    """Score a whole split by the model's own figures, such as nats per image and bits per dimension, with the standard
    errors of these means. Of several densities, each and the mixture of all."""

    runs: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN [RUN ...]")] = ()
    """Folders of the runs; they share the first one's data."""
    step: Step = "best"
    """Checkpoint: best on validation data, last, or a step."""
    split: Literal["test", "valid", "train"] = "test"
    """Which images."""
    data: flags.text("DATA", "the run's") = ""  # type: ignore[valid-type]
    """Another data set than the run's, as `jaxgen data list` names them."""
    batch: int = 100
    """Examples at a time."""
    draws: int = 1
    """Of a bound that draws: how many draws are averaged."""
    seed: int = 0
    """Seed of those draws."""
    iw_samples: Annotated[int | None, tyro.conf.arg(metavar="K", help_behavior_hint="(default: the model's own)")] = (
        None
    )
    """Give the bound L_K by so many importance samples, for a model that has it; it rises with K to log p."""
    json: flags.Json = False


def run(args: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    options = flags.parse(Evaluate, args, "jaxgen evaluate")
    at_least_one(batch=options.batch, draws=options.draws)
    at_least_one(iw_samples=1 if options.iw_samples is None else options.iw_samples)
    if not options.runs:
        raise UsageError("`jaxgen evaluate` wants RUN; `jaxgen evaluate --help` shows its flags.")
    runs = open_runs(options.runs, options.step, options.batch)
    from jaxgen.core.capabilities import Density, require
    from jaxgen.engine.evaluate import mixture, summary

    dataset = runs[0].other_data(options.data) if options.data else runs[0].dataset
    for run in runs:  # before any is scored, which may take minutes
        run.scored_data(options.split, dataset)
        if len(runs) > 1:
            require(run.model, Density, "be mixed with others")
            _check_alike(runs[0], run)
    how = {"batch": options.batch, "seed": options.seed, "draws": options.draws, "iw_samples": options.iw_samples}
    scores = [run.scores(options.split, dataset, **how) for run in runs]
    found = [summary(run.model, score) for run, score in zip(runs, scores)]
    bounds = [bool(figure.get("bound")) for figure in found]
    rows = [(said(figure, bound), f"step {run.step:,}") for run, figure, bound in zip(runs, found, bounds)]
    about: dict[str, Any] = {"split": options.split, "data": dataset.name}
    if options.iw_samples is not None:
        about["iw_samples"] = options.iw_samples
    what = "images" if "image" in getattr(dataset, options.split) else "examples"
    images = f"{found[0]['count']:,} {options.split} {what} of {dataset.name}"
    if len(runs) == 1:
        k = f", L_{options.iw_samples}" if options.iw_samples is not None else ""
        say(options.json, {**found[0], **about, "step": runs[0].step}, f"{rows[0][0]}{k}: {images}, {rows[0][1]}")
        return 0
    mixed = summary(runs[0].model, mixture(scores, runs[0].model.shape)) | {"bound": any(bounds)}
    about["runs"] = [{"run": name, "step": run.step, **f} for name, run, f in zip(options.runs, runs, found)]
    width = max(map(len, (*options.runs, "mixture")))
    lines = [f"{name:<{width}}  {figure}, {step}" for name, (figure, step) in zip(options.runs, rows)]
    lines.append(f"{'mixture':<{width}}  {said(mixed, any(bounds))}: {images}")
    say(options.json, {**mixed, **about}, "\n".join(lines))
    return 0


def _check_alike(first: Any, other: Any) -> None:
    """Raises `UsageError` where one model is conditional and another is not, or on something else: p(y|x) and p(x)
    make no mixture."""
    if first.model.condition != other.model.condition:
        kinds = [f"{run.folder} is conditioned on {run.model.condition}" for run in (first, other)]
        raise UsageError(f"these make no mixture: {kinds[0]}, {kinds[1]}. Evaluate each by itself.")
