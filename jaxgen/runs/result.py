"""What is written down of a run: `run.json` when it begins, `result.json` when it is complete."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxgen import __version__


def described(recipe: Any, dataset: Any, devices: Any, args: Sequence[str]) -> dict[str, Any]:
    """What `run.json` says beside the recipe and its knobs."""
    import jax

    from jaxgen.core.model import ImageModel, described_batch
    from jaxgen.data.dataset import digest, example_shapes
    from jaxgen.engine.deciding import deciding

    images = isinstance(recipe.model, ImageModel)
    return {
        "model": type(recipe.model).__name__,
        **({"shape": list(recipe.model.shape), "levels": recipe.model.levels} if images else {}),
        "data": dataset.name,
        "protocol": dataset.protocol,
        "steps": recipe.steps,
        "best": best._asdict() if (best := deciding(recipe)) else None,
        "batch": described_batch(example_shapes(dataset)),
        "examples": {name: len(split) for name, split in dataset.splits().items()},
        "digest": digest(dataset),
        **({} if dataset.vocabulary is None else {"vocabulary": str(dataset.vocabulary)}),
        "devices": f"{devices.devices.size} {devices.devices.flat[0].platform}",
        "processes": jax.process_count(),
        "versions": {"jaxgen": __version__, "jax": jax.__version__, "python": sys.version.split()[0]},
        "command": shlex.join(["jaxgen", *args]),
        "folder": str(Path.cwd()),
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def concluded(
    recipe: Any, dataset: Any, outcome: Any, grid: Path | None, expected: Mapping[str, Any], seconds: float
) -> dict[str, Any]:
    """What was reached, as `result.json` holds it."""
    from jaxgen.core.capabilities import Density, capabilities
    from jaxgen.engine.baselines import baselines
    from jaxgen.engine.deciding import deciding

    best = deciding(recipe)
    result: dict[str, Any] = {
        "step": outcome.step,
        "best_step": outcome.best_step,
        "best": best._asdict() if best else None,
        "metrics": outcome.metrics,
        "grid": str(grid) if grid else None,
        "seconds": round(seconds, 1),
        "model": type(recipe.model).__name__,
        "capabilities": list(capabilities(recipe.model)),
    }
    if isinstance(recipe.model, Density):
        result |= {"bound": not recipe.model.exact, "baselines": baselines(dataset)}
    if expected:
        result["expected"] = {name: list(bounds) for name, bounds in expected.items()}
    return result
