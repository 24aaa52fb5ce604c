"""`jaxgen inspect`: parameters, capabilities, and the cost of a step."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxgen.cli import flags
from jaxgen.cli.output import table
from jaxgen.core.errors import UsageError


@dataclasses.dataclass(kw_only=True)
class Inspect:
    """What a model holds and can do, and what a training step costs. Give a recipe and its knobs, or a run's folder."""

    table_depth: int = 2
    """How deep the table of parameters goes."""
    json: flags.Json = False


def run(args: Sequence[str]) -> int:
    """Run `jaxgen inspect`; returns its exit code."""
    from jaxgen.runs import recipes

    of_run = bool(args) and not args[0].startswith("-") and Path(args[0]).is_dir()
    if of_run:
        options = flags.parse(Inspect, args[1:], f"jaxgen inspect {args[0]}")
        from jaxgen.runs.folder import read_run

        record = read_run(args[0])
        recipe = recipes.build(record.file, record.settings)
        arrays = record.about.get("batch")
    else:
        file, options, settings = flags.with_recipe(Inspect, args, "jaxgen inspect")
        recipe, arrays = recipes.build(file, settings), None
    if options.table_depth < 1:
        raise UsageError(f"--table-depth must be at least 1, got {options.table_depth}.")
    from jaxgen.engine.devices import cpu

    cpu.prepare_cpu(recipe.batch)
    dataset = _data(recipe, of_run)
    if arrays is None and dataset is not None:
        from jaxgen.core.model import described_batch
        from jaxgen.data.dataset import example_shapes

        arrays = described_batch(example_shapes(dataset))
    # What a run's record and a data set say of a batch is what the model sees, transformed.
    answer = _inspected(recipe, arrays, options.table_depth)
    if options.json:
        sys.stdout.write(json.dumps(answer) + "\n")
    else:
        _show(answer)
    return 0


def _data(recipe: Any, of_run: bool) -> Any:
    """The recipe's data, or None where these are not there."""
    from jaxgen.data.source import UnknownData

    try:
        return recipe.data.load()
    except UsageError as error:
        if isinstance(error, UnknownData) and not of_run:
            raise  # mistyped; a run has had its data
        return None


def _inspected(recipe: Any, arrays: Any, depth: int) -> dict[str, Any]:
    """All that `inspect` says, without starting a run."""
    import jax

    from jaxgen.core.capabilities import CAPABILITIES, Density, capabilities, models_with, why_not
    from jaxgen.core.model import ImageModel, batch_like
    from jaxgen.engine.state import init_state

    model = recipe.model
    batch = batch_like(model, recipe.batch, arrays)
    state = jax.eval_shape(lambda batch: init_state(recipe, batch), batch)
    images = isinstance(model, ImageModel)
    params = jax.tree_util.tree_leaves_with_path(state.variables["params"])
    modules: dict[str, dict[str, int]] = {}
    for path, leaf in params:
        entry = modules.setdefault("/".join(str(p.key) for p in path[:depth]), {"parameters": 0, "bytes": 0})
        entry["parameters"] += math.prod(leaf.shape)
        entry["bytes"] += math.prod(leaf.shape) * leaf.dtype.itemsize
    can = capabilities(model)
    lacks = {c.__name__: why_not(model, c) for c in CAPABILITIES if c.__name__ not in can}
    return {
        "model": type(model).__name__,
        "shape": list(model.shape) if images else None,
        "levels": model.levels if images else None,
        "data": recipe.data.name,
        "can": list(can),
        "exact": model.exact if isinstance(model, Density) else None,
        "lacks": lacks,
        "models_with": {c.__name__: list(models_with(c)) for c in CAPABILITIES if c.__name__ in lacks},
        "objectives": [{"name": o.name, "trains": list(o.trains), "every": o.every} for o in model.objectives()],
        "modules": modules,
        "parameters": sum(m["parameters"] for m in modules.values()),
        "bytes": sum(m["bytes"] for m in modules.values()),
        "step": _cost(recipe, batch),
    }


def _cost(recipe: Any, batch: dict[str, Any]) -> dict[str, Any]:
    """What one training step costs on one device."""
    import jax

    from jaxgen.engine.bench import step_cost
    from jaxgen.engine.devices.mesh import make_mesh

    mesh = make_mesh(jax.local_devices()[:1])
    cost = step_cost(recipe, batch, None, mesh)
    del cost["compile_s"]  # of a program that may have been in the cache
    return {"batch": recipe.batch, "device": mesh.devices.flat[0].platform, **cost}


def _show(answer: Mapping[str, Any]) -> None:
    size = f"{'×'.join(map(str, answer['shape']))} images of {answer['levels']} levels, " if answer["shape"] else ""
    exact = {True: " (exact likelihood)", False: " (a bound of the likelihood)", None: ""}[answer["exact"]]
    lines = [f"{answer['model']}: {size}on {answer['data']}"]
    lines.append(f"can       {', '.join(answer['can']) or 'nothing but train'}{exact}")
    for i, (name, why) in enumerate(answer["lacks"].items()):
        others = ", ".join(answer["models_with"][name])
        lines.append(
            f"{'cannot' if i == 0 else '':<10}{name}: {why}{f' (models that can: {others})' if others else ''}"
        )
    for i, o in enumerate(answer["objectives"]):
        every = "" if o["every"] == 1 else f", every {o['every']} steps"
        lines.append(f"{'trains' if i == 0 else '':<10}{', '.join(o['trains'])} by {o['name']}{every}")
    step = answer["step"]
    cost = f"{_unit(step['flops'], 'FLOP')} in products and convolutions"
    if step["temporary_bytes"] is not None:
        cost += f", {_unit(step['temporary_bytes'], 'B')} of memory beside state and batch"
    lines.append(f"step      batch {step['batch']} on one {step['device']} device: {cost}")
    if step["xla_flops"]:
        moved = f", {_unit(step['xla_bytes_accessed'], 'B')} moved" if step["xla_bytes_accessed"] else ""
        lines.append(f"{'':<10}XLA counts {_unit(step['xla_flops'], 'FLOP')}{moved}, the body of a loop once")
    sys.stdout.write("\n".join(lines) + "\n\n")
    rows = [[name, f"{m['parameters']:,}", f"{m['bytes']:,}"] for name, m in answer["modules"].items()]
    rows.append(["all", f"{answer['parameters']:,}", f"{answer['bytes']:,}"])
    table(rows, ("module", "parameters", "bytes"), right=("parameters", "bytes"))


def _unit(value: int | float, unit: str) -> str:
    power = max(0, min(4, int(math.log10(value) // 3))) if value >= 1 else 0
    return f"{value / 1000**power:.3g} {['', 'k', 'M', 'G', 'T'][power]}{unit}"
