"""Runs upon runs: one that begins with the parameters of another, and several that are scored as a mixture."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers import recipes as face_recipes
from helpers.cli import after, refused, said

from jaxgen import load


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A trained pixel model and a trained GAN."""
    return face_recipes.train(tmp_path_factory.mktemp("runs"), "tiny", "gan")


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    face_recipes.write(tmp_path)


def test_a_run_begins_with_the_parameters_of_another_and_says_so(runs, capsys):
    """On resume the other run must be the same, but is needed no more."""
    shutil.copytree(runs / "tiny", "base")
    args = ("train", "tiny", "--run", "on", "--start", "base", "--json")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxgen.cli.commands.train._Interrupts.__call__", after(2))
        assert said(capsys, *args)[0] == 130
    record = json.loads(Path("on/run.json").read_text())
    assert record["start"] == {"run": "base", "step": load("base").step}
    other = refused(capsys, "train", "tiny", "--run", "on", "--start", "on")
    assert "on was started with --start base, and is now to go on with --start on" in other
    assert "now to go on without --start" in refused(capsys, "train", "tiny", "--run", "on")
    fresh = json.loads(Path("base/result.json").read_text())["metrics"]
    shutil.rmtree("base")
    code, out, err = said(capsys, *args)
    assert code == 0
    assert "resuming at step 2 of 4" in err
    assert json.loads(out)["metrics"]["test/nats"] < fresh["test/nats"]


def test_several_runs_are_evaluated_as_a_mixture(runs, capsys):
    base = runs / "tiny"
    assert said(capsys, "train", "tiny", "--run", "on", "--start", base)[0] == 0
    code, out, _ = said(capsys, "evaluate", base, "on", "--json")
    assert code == 0
    actual, scores = json.loads(out), [-load(folder).scores()["nats"] for folder in (base, "on")]
    assert [run["nats"] for run in actual["runs"]] == pytest.approx([-score.mean() for score in scores], rel=1e-6)
    mixed = -np.log(np.exp(scores).mean(axis=0)).mean()
    assert actual["nats"] == pytest.approx(mixed, rel=1e-6)
    assert actual["nats"] < np.mean([run["nats"] for run in actual["runs"]])
    assert (actual["count"], actual["split"], actual["bound"]) == (360, "test", False)
    lines = said(capsys, "evaluate", base, "on")[1].splitlines()
    assert [line.split()[0] for line in lines] == [str(base), "on", "mixture"]
    assert lines[-1].endswith("360 test images of digits")


def test_a_run_that_cannot_be_scored_is_refused_before_any_is(runs, capsys, monkeypatch):
    monkeypatch.setattr("jaxgen.runs.load.scores", lambda *_, **__: pytest.fail("scored"))
    assert "DCGAN cannot be evaluated" in refused(capsys, "evaluate", runs / "tiny", runs / "gan")


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        (["train", "tiny", "--start", "nowhere"], ["there is no run nowhere"]),
        (["train", "tiny", "--start", "{runs}/gan"], ["what the run shall start from does not fit its PixelCNN"]),
        (["train", "tiny", "--start", "{runs}/tiny", "--width", "5"], ["does not fit its PixelCNN: 'params/"]),
        (["train", "tiny", "--run", "{runs}/tiny", "--start", "{runs}/tiny"], ["was started without --start"]),
        (["evaluate"], ["wants RUN;"]),
        (["evaluate", "{runs}/tiny", "nowhere"], ["there is no run nowhere"]),
    ],
    ids=" ".join,
)
def test_bad_input_gets_one_sentence_and_writes_nothing(args, parts, runs, capsys):
    message = refused(capsys, *[arg.replace("{runs}", str(runs)) for arg in args])
    for part in parts:
        assert part in message
