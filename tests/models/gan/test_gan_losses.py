"""The study of losses: its means, its table, and that it goes on where it stopped."""

import functools
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from helpers import ROOT

CLASSIFIER = '''"""ConvClassifier on noise. Unpublished. Ours: none."""
import optax
from jaxgen import Recipe, npz
from jaxgen.models.classifier import ConvClassifier


def recipe(steps: int = 2) -> Recipe:
    model = ConvClassifier(shape=(8, 8, 1), levels=256, conv=(2,), hidden=3)
    return Recipe(data=npz("noise.npz"), model=model, optimizer=optax.adam(1e-3), batch=8, steps=steps)
'''


def study():
    spec = importlib.util.spec_from_file_location("gan_losses_study", ROOT / "experiments/studies/gan_losses.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_row_is_the_mean_of_the_seeds_that_came_through():
    module = study()
    figures = [{"fd": 3.0, "floor": 1.25}, {"diverged": 7}, {"fd": 5.0, "floor": 1.25}]
    rows = [module.summed("wgan", "clip", figures), module.summed("hinge", "clip", [{"diverged": 0}])]
    assert rows[0] == dict(loss="wgan", hold="clip", runs=3, diverged=1, fd=4.0, stderr=1.0, floor=1.25)
    assert module.table(rows).splitlines() == [
        "| FD, floor 1.25 | clip |",
        "|---|---|",
        "| wgan | 4 ± 1, 1 of 3 diverged |",
        "| hinge | 1 of 1 diverged |",
    ]


@pytest.mark.soak
def test_the_study_trains_what_is_not_there(tmp_path, monkeypatch, capsys):
    import jaxgen.runs.feature_judge as judges
    from jaxgen.cli.main import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(judges, "features_run", functools.partial(judges.features_run, least_accuracy=0.0))
    draw = np.random.default_rng(0)
    splits = {name: draw.integers(0, 256, (16, 8, 8, 1)).astype(np.uint8) for name in ("train", "valid", "test")}
    labels = {f"{name}_label": draw.integers(0, 10, 16) for name in splits}
    np.savez("noise.npz", **splits, **labels, levels=256)
    Path("classifier.py").write_text(CLASSIFIER)
    assert main(["train", "classifier.py", "--run", "classifier"]) == 0
    flags = [
        "--data",
        "npz:noise.npz",
        "--judge",
        "classifier",
        "--features",
        "1",
        "--num",
        "8",
        "--steps",
        "2",
        "--out",
        "out",
    ]
    flags += ["--size", "8", "--net", "dense", "--batch", "8", "--latent", "3"]
    flags += ["--losses", "hinge", "--seeds", "2", "--holds", "clip", "spectral"]
    module = study()
    assert module.main(flags) == 0
    first = {path: path.stat().st_mtime_ns for path in Path("out").glob("*/figures.json")}
    assert len(first) == 4
    next(iter(first)).unlink()
    assert module.main(flags) == 0
    again = {path: path.stat().st_mtime_ns for path in Path("out").glob("*/figures.json")}
    assert {path for path in again if again[path] != first[path]} == {next(iter(first))}
    rows = json.loads(Path("out/gan_losses.json").read_text())["rows"]
    for row in rows:
        cells = [json.loads(Path(f"out/hinge-{row['hold']}-{seed}/figures.json").read_text()) for seed in range(2)]
        assert row["fd"] == pytest.approx(np.mean([cell["fd"] for cell in cells]))
    assert Path("out/gan_losses.png").exists()
    assert "| hinge |" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        module.main([*flags, "--lr", "1e-3"])
    assert "whose knobs is" in capsys.readouterr().err
