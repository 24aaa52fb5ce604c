"""`jaxgen evaluate`: a whole split, scored."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import tyro

from jaxgen.cli import flags
from jaxgen.cli.open import Step, open_runs
from jaxgen.cli.output import at_least_one, said, say
from jaxgen.core.errors import UsageError


@dataclasses.dataclass(kw_only=True)
class Evaluate:
    """Score a whole split by the model's own figures, such as nats per image and bits per dimension, with the standard
    errors of these means. Of several densities, each and the mixture of all. With --metrics, judge one run's samples
    beside the images of the split instead, or what a linear map reads off its codes."""

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
    """Seed of those draws, or of samples."""
    iw_samples: Annotated[int | None, tyro.conf.arg(metavar="K", help_behavior_hint="(default: the model's own)")] = (
        None
    )
    """Give the bound L_K by so many importance samples, for a model that has it; it rises with K to log p."""
    metrics: flags.text("NAMES", "none") = ""  # type: ignore[valid-type]
    """fd, kid and prdc, with commas between: the Fréchet and the kernel distance, precision, recall, density and
    coverage of samples."""
    features: flags.text("RUN|FILE", "none") = ""  # type: ignore[valid-type]
    """For metrics of samples: the run of a classifier of the same images, by whose features they are compared, or a
    file of the weights of Inception v3 as pytorch-fid has them, .pth or .npz."""
    num: Annotated[
        int | None, tyro.conf.arg(metavar="N", help_behavior_hint="(default: as many as there are, at most 10,000)")
    ] = None
    """For metrics: how many samples, and images beside them."""
    least_accuracy: float = 80.0
    """For metrics of samples: percent of test images that the classifier must tell; 0 takes it as it is."""
    json: flags.Json = False


def run(args: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    options = flags.parse(Evaluate, args, "jaxgen evaluate")
    at_least_one(batch=options.batch, draws=options.draws)
    at_least_one(**{"iw-samples": 1 if options.iw_samples is None else options.iw_samples})
    if not options.runs:
        raise UsageError("`jaxgen evaluate` wants RUN; `jaxgen evaluate --help` shows its flags.")
    if options.metrics:
        return _judged(options)
    for name in ("features", "num"):
        if getattr(options, name) not in ("", None):
            raise UsageError(f"--{name} is about metrics of samples: name some with --metrics, as in --metrics fd,kid.")
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
    figures = [summary(run.model, score) for run, score in zip(runs, scores)]
    bounds = [bool(figure.get("bound")) for figure in figures]
    rows = [(said(figure, bound), f"step {run.step:,}") for run, figure, bound in zip(runs, figures, bounds)]
    about: dict[str, Any] = {"split": options.split, "data": dataset.name}
    if options.iw_samples is not None:
        about["iw_samples"] = options.iw_samples
    what = "images" if "image" in getattr(dataset, options.split) else "examples"
    images = f"{figures[0]['count']:,} {options.split} {what} of {dataset.name}"
    if len(runs) == 1:
        k = f", L_{options.iw_samples}" if options.iw_samples is not None else ""
        say(options.json, {**figures[0], **about, "step": runs[0].step}, f"{rows[0][0]}{k}: {images}, {rows[0][1]}")
        return 0
    mixed = summary(runs[0].model, mixture(scores, runs[0].model.shape)) | {"bound": any(bounds)}
    about["runs"] = [{"run": name, "step": run.step, **f} for name, run, f in zip(options.runs, runs, figures)]
    width = max(map(len, (*options.runs, "mixture")))
    lines = [f"{name:<{width}}  {figure}, {step}" for name, (figure, step) in zip(options.runs, rows)]
    lines.append(f"{'mixture':<{width}}  {said(mixed, any(bounds))}: {images}")
    say(options.json, {**mixed, **about}, "\n".join(lines))
    return 0


def _judged(options: Evaluate) -> int:
    """What --metrics asks for."""
    from jaxgen.metrics.sets import check_metrics

    names = [name.strip() for name in options.metrics.split(",")]
    at_least_one(num=1 if options.num is None else options.num)
    check_metrics(names, sys.maxsize if options.num is None else options.num)
    if len(options.runs) > 1:
        raise UsageError(f"--metrics judges one run at a time, got {len(options.runs)}: name one.")
    if options.iw_samples is not None or options.draws != 1:
        raise UsageError("--iw-samples and --draws are about likelihoods: leave them out with --metrics.")
    if not options.features:
        raise UsageError(
            f"--metrics {','.join(names)} compares images by the features of a classifier: name its run with "
            "--features; `jaxgen train classifier_mnist` trains one. A file of Inception's weights will do too."
        )
    (run,) = open_runs(options.runs, options.step, options.batch)
    figures: dict[str, Any] = {"split": options.split, "step": run.step, "seed": options.seed}
    dataset = run.other_data(options.data) if options.data else run.dataset
    figures["data"] = dataset.name
    lines = _samples_judged(run, dataset, names, options, figures)
    say(options.json, figures, "\n".join(lines))
    return 0


def _samples_judged(run: Any, dataset: Any, metrics: Sequence[str], options: Evaluate, figures: Any) -> list[str]:
    """What is said of samples beside images of the split; adds to the figures."""
    from jaxgen.cli.progress import counted
    from jaxgen.core.capabilities import Sampler, require
    from jaxgen.explore.quality import most, other_split, quality
    from jaxgen.runs.feature_judge import features_net
    from jaxgen.runs.inception_file import InceptionFile

    require(run.model, Sampler, "be judged by its samples")
    net: Any = features_net(options.features, run.model.shape, options.least_accuracy)
    of_file = isinstance(net, InceptionFile)
    num = options.num or most(dataset, (options.split, other_split(dataset, options.split)))
    with counted(4 * num, "images drawn and described") as progress:
        judged = quality(run, net, dataset, metrics, num, options.split, options.seed, options.batch, progress)
    notes = []
    if run.model.levels != net.model.levels:
        whose = "Inception" if of_file else "the classifier"
        notes.append(f"images of {run.model.levels} levels were spread over the {net.model.levels} of {whose}")
    if "fd" in metrics and num <= judged.dims:
        notes.append(
            f"{num:,} images have no covariance of full rank in {judged.dims} features: FD is far above what it is of "
            "many images; give more, or take kid, which is unbiased"
        )
    name = net.digest if of_file else net.record.file.name
    capitals = {"fd": "FID" if of_file else "FD", "kid": "KID"}
    figures |= {**judged.figures, "floor": judged.floor, "floor_of": judged.floor_of, "num": num, "dims": judged.dims}
    figures |= {"features": name, "notes": notes}
    figures |= (
        {"features_file": options.features}
        if of_file
        else {"features_run": options.features, "features_step": net.step}
    )
    shown = [figure for figure in judged.figures if not figure.endswith("_stderr")]
    labels = [f"{capitals.get(figure, figure)}[{name}]" for figure in shown]
    width = max(map(len, labels))
    lines = [
        f"{label:<{width}}  {_with_error(judged.figures, figure)}, floor {_with_error(judged.floor, figure)}"
        for figure, label in zip(shown, labels)
    ]
    lines.append(
        f"{num:,} samples of step {run.step:,} beside {num:,} {options.split} images of {dataset.name}; floor: as many "
        f"{judged.floor_of} images in their place"
    )
    return lines + notes


def _with_error(figures: Mapping[str, float], name: str) -> str:
    """A figure, and its standard error where it is known."""
    error = f" ± {figures[f'{name}_stderr']:.2g}" if f"{name}_stderr" in figures else ""
    return f"{figures[name]:.4g}{error}"


def _check_alike(first: Any, other: Any) -> None:
    """Raises `UsageError` where one model is conditional and another is not, or on something else: p(y|x) and p(x)
    make no mixture."""
    if first.model.condition != other.model.condition:
        kinds = [f"{run.folder} is conditioned on {run.model.condition}" for run in (first, other)]
        raise UsageError(f"these make no mixture: {kinds[0]}, {kinds[1]}. Evaluate each by itself.")
