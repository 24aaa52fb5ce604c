"""`jaxgen verify`: whether a recipe's model, or a run's, is the distribution that it says it is."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxgen.cli import flags
from jaxgen.cli.output import placed


@dataclasses.dataclass(kw_only=True)
class Verify:
    """Check causality, coverage, normalisation, sampling of a model with exact likelihood.

    Give a recipe and its knobs, of which --seed is that of the random networks and draws, or a run's folder, whose
    trained weights are then looked at too. Exits with 1 where a check fails, and leaves a picture of the worst leak or
    blind spot.
    """

    output: flags.text("FILE.png", "verify-NAME.png, on failure only", "-o") = ""  # type: ignore[valid-type]
    """Where the picture goes, in any case."""
    json: flags.Json = False


def run(args: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    variables: Any = None
    of_run = bool(args) and not args[0].startswith("-") and Path(args[0]).is_dir()
    if of_run:
        options = flags.parse(Verify, args[1:], f"jaxgen verify {args[0]}")
        place = _place(options)
        from jaxgen.engine.devices import cpu
        from jaxgen.runs.folder import read_run
        from jaxgen.runs.load import load

        read_run(args[0])
        cpu.prepare_cpu(1)
        opened = load(args[0])
        recipe, variables, name, folder = opened.recipe, opened.variables, opened.record.file.name, Path(args[0])
    else:
        file, options, settings = flags.with_recipe(Verify, args, "jaxgen verify")
        place = _place(options)
        from jaxgen.engine.devices import cpu
        from jaxgen.runs import recipes

        cpu.prepare_cpu(1)
        recipe, name, folder = recipes.build(file, settings), file.name, Path()
    from jaxgen import verification

    report = verification.verify(recipe.model, variables, seed=recipe.seed, progress=_told)
    page = report.picture() if options.output or not report.ok else None
    path = place or folder / f"verify-{name}.png"
    if page is not None and place is None and not os.access(folder, os.W_OK | os.X_OK):
        sys.stderr.write(f"no picture: {folder} cannot be written to; name another place with --output\n")
        page = None
    if page is not None:
        from jaxgen.pictures.grid import save_png

        save_png(page, path)
    if options.json:
        checks = [
            {"name": c.name, "passed": c.passed, "detail": c.detail, "worst": [list(w) for w in c.worst]}
            for c in report.checks
        ]
        answer = {
            "model": report.model,
            "ok": report.ok,
            "checks": checks,
            "picture": None if page is None else str(path),
        }
        sys.stdout.write(json.dumps(answer, ensure_ascii=False) + "\n")
    else:
        _show(report)
        if page is not None and report.view is not None:
            sys.stdout.write(f"{path}: what {report.view.at} sees ({verification.LEGEND})\n")
        elif options.output:
            sys.stdout.write(f"no picture: {report.model} has no context\n")
    return 0 if report.ok else 1


def _place(options: Verify) -> Path | None:
    return placed(options.output, (".png",)) if options.output else None


def _told(name: str) -> None:
    sys.stderr.write(f"checking {name}\n")


def _show(report: Any) -> None:
    from jaxgen.cli.output import table
    from jaxgen.verification.verify import MARKS

    rows = [
        [check.name, MARKS[check.passed], " ← ".join(str(place) for place in check.worst), check.detail]
        for check in report.checks
    ]
    table(rows, ("check", "result", "worst", "detail"))
    failed = sum(check.passed is False for check in report.checks)
    verdict = f"{report.model}: {f'{failed} failed' if failed else 'all that it offers holds'}"
    sys.stdout.write(f"\n{verdict}\n")
