"""Recipes train with their SMOKE knobs, on images made here, and reach what they announce: one of each model in the
suite, every recipe of `experiments/` by `make soak`."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from helpers import ROOT
from helpers.hlo import convolutions

from jaxgen.cli.main import main
from jaxgen.core.model import ImageModel
from jaxgen.engine.programs import Programs
from jaxgen.runs.recipes.build import build
from jaxgen.runs.recipes.file import load_file

EXPERIMENTS = ROOT / "experiments"
RECIPES = [load_file(path) for path in sorted(EXPERIMENTS.rglob("*.py")) if "\ndef recipe(" in path.read_text("utf-8")]
OF_MODEL = {file.headline()["model"]: file.name for file in RECIPES}
"""The recipe of each model that the suite trains."""

BINARY = ("binarized_mnist", "tfds:binarized_mnist")


def flags(settings):
    """Knobs as a reader would type them."""
    actual = []
    for name, value in settings.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            actual.append(f"--{flag}" if value else f"--no-{flag}")
            continue
        actual += [f"--{flag}", *map(str, value if isinstance(value, tuple) else (value,))]
    return actual


@pytest.fixture
def images(file, tmp_path):
    """An .npz of the images that the recipe's model is made for, or None where its data come with a dependency, or
    are made here and no images."""
    if "data" not in file.knobs or not isinstance(build(file).model, ImageModel):
        return None
    shape = build(file).model.shape
    levels = 2 if file.knobs["data"].default in BINARY else 256
    rng = np.random.default_rng(0)
    splits = {s: rng.integers(0, levels, (n, *shape)).astype(np.uint8) for s, n in (("train", 16), ("test", 8))}
    beside = {}
    for split, count in (("train", 16), ("valid", 4), ("test", 8)):
        beside[f"{split}_label"] = rng.integers(0, 10, count)
        beside[f"{split}_sentence"] = np.array(["a red star left of a blue circle"] * count)
        beside[f"{split}_attribute"] = np.zeros((count, 12), int)
    path = tmp_path / "images.npz"
    np.savez(path, **splits, **beside, valid=splits["test"][:4], levels=levels)
    return path


@pytest.fixture
def compiled(monkeypatch):
    """The programs of training as XLA compiled them, in the order of their first dispatch."""
    actual, make = [], Programs._make

    def kept(self, *case):
        program, mine = make(self, *case), []

        def run(*arguments):
            if not mine:
                mine.append(program.lower(*arguments).compile())
                actual.append(mine[0])
            return mine[0](*arguments)

        return run

    monkeypatch.setattr(Programs, "_make", kept)
    return actual


@pytest.mark.parametrize(
    "file",
    [
        pytest.param(file, marks=() if file.name in OF_MODEL.values() else pytest.mark.soak, id=file.name)
        for file in RECIPES
    ],
)
def test_smoke_run_reaches_the_figures_that_the_recipe_announces(file, images, tmp_path, capsys, compiled):
    """And no train step has a convolution inside a loop (`tests/engine/test_jaxprs.py`)."""
    data = {} if images is None else {"data": f"npz:{images}"}
    arguments = ["train", str(file.path), *flags({**file.smoke, **data}), "--run", str(tmp_path / "run"), "--json"]
    assert main(arguments) == 0, capsys.readouterr().err
    result = json.loads(capsys.readouterr().out)
    assert result["step"] == build(file, {**file.smoke, **data}).steps
    for name in {*file.expected} - {*file.presets}:
        assert math.isfinite(result["metrics"][name])
    for preset in file.presets:
        assert {*file.with_preset(preset).expected} <= {*result["metrics"]}
    if "test/bits_per_dim" in result["metrics"]:
        # Untrained, a model is about as good as uniform noise, and the images are just that.
        assert result["metrics"]["test/bits_per_dim"] == pytest.approx(result["baselines"]["uniform"], rel=0.5)
    assert (tmp_path / "run" / "checkpoints" / str(result["step"])).is_dir()
    assert compiled
    assert not any(map(convolutions, compiled))


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.name)
def test_headline_names_model_data_and_figures(file):
    made, headline = build(file), file.headline()
    assert headline["model"].replace(" ", "") == type(made.model).__name__
    assert headline["data"]
    assert headline["ours"]
    assert f"jaxgen train {file.name}" in file.doc
    assert "Protocol:" in file.doc
