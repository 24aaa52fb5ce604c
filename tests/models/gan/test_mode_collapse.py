"""The study of mode collapse: seeds side by side train as each would alone, and its table says what they reached."""

import argparse
import dataclasses
import importlib.util
import json
import sys

import jax
import numpy as np
import pytest
from helpers import ROOT

from jaxgen.engine.feed import indices
from jaxgen.engine.state import init_state
from jaxgen.engine.step import make_step


def study():
    spec = importlib.util.spec_from_file_location("mode_collapse_study", ROOT / "experiments/studies/mode_collapse.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # where a dataclass looks up its module
    spec.loader.exec_module(module)
    return module


def settings(**knobs):
    return argparse.Namespace(**{"steps": 3, "batch": 16, "width": 4, "latent": 2, "lr": 1e-2, "num": 20, **knobs})


def test_seeds_side_by_side_train_as_each_alone():
    """The engine's own state and step with the seed in the recipe, one after the other, end where `vmap` does."""
    module = study()
    module.CHUNK = 2
    recipe, _ = module.recipe_of("grid", "least-squares", "replacement", settings())
    together = module.fitted(recipe, range(4, 6))
    alone = dataclasses.replace(recipe, seed=5)
    x = recipe.data.load().train["x"]
    state, step = init_state(alone, {"x": x[:16]}), jax.jit(make_step(alone))
    start = state.variables
    for number in range(3):
        state, _ = step(state, {"x": x[indices(5, number, 16, len(x), replacement=True)]})
    same = lambda a, b: np.testing.assert_allclose(a, b[1], rtol=1e-4, atol=1e-6)  # noqa: E731
    jax.tree.map(same, state.variables, together.variables)
    moved = jax.tree.map(lambda a, b: bool((a[0] != a[1]).any() and (a[1] != b).any()), together.variables, start)
    assert all(jax.tree.leaves(moved))


def test_rows_are_means_with_standard_errors_and_orders_are_compared():
    module = study()
    figures = [[{"modes": m, "good": 0.5, "kl": kl} for m, kl in ((a, 0.5), (a + 2, None))] for a in (6.0, 1.0)]
    rows = [
        {"data": "ring", "loss": "hinge", "order": order, **module.summed(f), "seeds": f}
        for order, f in zip(module.ORDERS, figures)
    ]
    assert (rows[0]["modes"], rows[0]["modes_stderr"], rows[0]["kl"], rows[0]["kl_stderr"]) == (7, 1, 0.5, None)
    assert module.difference(rows, "ring", "hinge") == (5.0, pytest.approx(2**0.5))
    assert module.difference(rows[:1], "ring", "hinge") is None
    lines = module.table(rows, {"ring": {"modes": 8.0, "good": 0.99, "kl": 0.001}}).splitlines()
    assert lines[2] == "| ring | the data | | 8.0 | 99.0 | 0.001 | |"
    assert lines[4] == "| ring | hinge | replacement | 2.0 ± 1.0 | 50.0 ± 0.0 | 0.500 | +5.0 ± 1.4 |"
    assert lines[-1] == "1 of 1 differences between the orders exceed three standard errors."


def test_stacked_digits_are_trained_on_once_for_each_seed_and_wanted_with_their_judge(tmp_path, monkeypatch, capsys):
    from experiments.studies import stacked_cells

    options, runs = argparse.Namespace(seeds=2, out=tmp_path), []

    def run_of(folder, loss, order, seed, options):
        folder.mkdir(parents=True)
        runs.append(folder.name)
        return {"modes": 100.0 * seed, "good": None, "kl": None if seed else 6.9}

    monkeypatch.setattr(stacked_cells, "run_of", run_of)
    first = stacked_cells.trained("hinge", "epochs", options)
    assert stacked_cells.trained("hinge", "epochs", options) == first
    assert runs == ["hinge-epochs-0", "hinge-epochs-1"]
    module = study()
    row = {"data": "stacked_mnist", "loss": "hinge", "order": "epochs", **module.summed(first)}
    lines = module.table([row], {"stacked_mnist": {"modes": 1000.0, "good": None, "kl": 0.02}}).splitlines()
    assert lines[2] == "| stacked_mnist | the data | | 1000.0 |  | 0.020 | |"
    assert lines[3] == "| stacked_mnist | hinge | epochs | 50.0 ± 50.0 |  | 6.900 | |"
    with pytest.raises(SystemExit):
        module.main(["--data", "stacked_mnist", "--digits", "digits", "--out", str(tmp_path / "new")])
    assert "stacked_mnist wants --digits, grey digits with labels" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


@pytest.mark.soak
def test_the_study_goes_on_where_it_stopped(tmp_path, capsys):
    module = study()
    arguments = ["--data", "ring", "--losses", "hinge", "minimax", "--seeds", "2", "--width", "4", "--batch", "16"]
    arguments += ["--num", "20", "--out", str(tmp_path)]
    assert module.main([*arguments, "--steps", "2"]) == 0
    assert capsys.readouterr().err.count(" s\n") == 4
    (tmp_path / "cells/ring-hinge-epochs.json").unlink()
    before = json.loads((tmp_path / "mode_collapse.json").read_text())["rows"]
    assert module.main([*arguments, "--steps", "2"]) == 0
    assert capsys.readouterr().err.count(" s\n") == 1
    assert json.loads((tmp_path / "mode_collapse.json").read_text())["rows"] == before
    assert (tmp_path / "mode_collapse.png").stat().st_size > 10_000
    with pytest.raises(SystemExit):
        module.main([*arguments, "--steps", "3"])
    assert "whose steps is 2, not 3" in capsys.readouterr().err
