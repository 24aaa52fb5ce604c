"""`jaxgen probe`: what a linear classifier reads off a model's representations of images."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import tyro

from jaxgen.cli import flags
from jaxgen.cli.open import OfRun, open_run
from jaxgen.cli.output import at_least_one, say

MOST_HINT = "(default: as many as there are, at most 2,000)"
Count = Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint=MOST_HINT)]


@dataclasses.dataclass(kw_only=True)
class Probe(OfRun):
    """Read labels off a GAN's critic, an encoder's codes or a classifier's features by logistic regression, and off raw
    pixels beside them."""

    split: Literal["test", "valid"] = "test"
    """Whose labels are told."""
    data: flags.text("DATA", "the run's") = ""  # type: ignore[valid-type]
    """Another data set than the run's, as `jaxgen data list` names them."""
    num: Count = None
    """Training images that the regression is fitted to, evenly spaced."""
    tested: Count = None
    """Images whose labels are told, evenly spaced."""


def run(args: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    options = flags.parse(Probe, args, "jaxgen probe")
    at_least_one(**{n: 1 if (of := getattr(options, n)) is None else of for n in ("num", "tested")})
    run = open_run(options)
    from jaxgen.explore.probing import MOST, probes, representations

    representations(run)  # before any data are read
    dataset = run.other_data(options.data) if options.data else run.dataset
    known = probes(run, dataset, options.num, options.tested, options.split)
    num = options.num or min(MOST, len(dataset.train))
    tested = known["chance"].tested
    figures: dict[str, Any] = {"step": run.step, "split": options.split, "num": num, "tested": tested}
    figures["probes"] = {
        name: {"percent": probe.percent, "stderr": probe.stderr, "dims": probe.dims} for name, probe in known.items()
    }
    width = max(map(len, known))
    lines = []
    for name, probe in known.items():
        size = f", {probe.dims:,} numbers" if probe.dims else ""
        lines.append(f"{name:<{width}}  {probe.percent:5.1f} ± {probe.stderr:.1f} %{size}")
    lines.append(
        f"{tested:,} {options.split} images of {dataset.name} told by logistic regression on {num:,} training images, "
        f"step {run.step:,}"
    )
    say(options.json, figures, "\n".join(lines))
    return 0
