"""`jaxgen bench`: compile time, speed, share of the peak, memory of a recipe's step."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence

from jaxgen.cli import flags


@dataclasses.dataclass(kw_only=True)
class Bench:
    """Measure a recipe's training step: compile time, ms per step, images/s, FLOPs, share of the peak, memory."""

    json: flags.Json = False


def run(args: Sequence[str]) -> int:
    """Run `jaxgen bench`; returns its exit code."""
    file, options, settings = flags.with_recipe(Bench, args, "jaxgen bench")
    from jaxgen.engine.bench import describe, measure
    from jaxgen.engine.devices import cpu
    from jaxgen.runs import recipes

    recipe = recipes.build(file, settings)
    cpu.prepare_cpu(recipe.batch)
    figures = measure(recipe)
    sys.stdout.write(json.dumps(figures) + "\n" if options.json else describe(figures))
    return 0
