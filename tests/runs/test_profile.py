"""A trace of training: when it begins and ends, that it can be viewed, and that nothing of the run depends on it."""

import gzip
import inspect
import io
import json
from pathlib import Path

import jax
import pytest
from helpers import recipes as face_recipes
from helpers.cli import refused, said

from jaxgen.engine.reporter import Outcome, Reporter
from jaxgen.runs import profile
from jaxgen.runs.profile import Profile, profiled
from jaxgen.runs.report import Report


class Heard(Reporter):
    """Remembers what it is told."""

    def __init__(self):
        self.calls = []

    def __getattribute__(self, name):
        if name in METHODS:
            return lambda *args: self.calls.append((name, *args))
        return object.__getattribute__(self, name)


METHODS = [name for name, _ in inspect.getmembers(Reporter, inspect.isfunction) if not name.startswith("_")]


@pytest.fixture
def traced(monkeypatch, tmp_path):
    """A profile of 3 steps whose traces are only noted, what its reporter heard, what it said, and the notes."""
    heard, said, notes = Heard(), [], []
    profile = Profile(heard, tmp_path, 3, said.append)

    def stop():
        notes.append(("end", profile._step))
        (tmp_path / "plugins/profile/now").mkdir(parents=True)
        (tmp_path / "plugins/profile/now/perfetto_trace.json.gz").touch()

    monkeypatch.setattr(jax.profiler, "start_trace", lambda *a, **k: notes.append(("begin", profile._step)))
    monkeypatch.setattr(jax.profiler, "stop_trace", stop)
    return profile, heard, said, notes


OUTCOME = object.__new__(Outcome)  # none of its fields matters here


def test_everything_is_passed_on(traced):
    profile, heard, *_ = traced
    assert all(name in vars(Profile) for name in METHODS), "the reporter has a method that is not passed on"
    calls = [("started", 0, 9), ("highlighted", {"rate"}), ("progress", 1, {"loss": 1.0})]
    calls += [("evaluated", 1, "valid", {"nats": 2.0}), ("sampled", 1, "images"), ("shown", 1, "words", ["a line"])]
    calls += [("saved", 1), ("finished", OUTCOME)]
    for name, *args in calls:
        getattr(profile, name)(*args)
    assert heard.calls == calls
    assert {name for name, *_ in calls} == set(METHODS)


@pytest.mark.parametrize(
    ("first", "steps", "reports", "notes"),
    [
        (0, 9, [1, 2, 3, 4, 5, 6, 7], [("begin", 2), ("end", 5)]),
        (4, 9, [5, 6, 7, 8, 9], [("begin", 6), ("end", 9)]),  # resumed
        (0, 1000, [100, 200, 300, 400], [("begin", 200), ("end", 300)]),  # in whole dispatches
        (0, 4, [1, 2, 3, 4], [("begin", 2), ("end", 4)]),  # the run is over before
        (0, 9, [1, 2, 3], [("begin", 2), ("end", 3)]),  # stopped
        (0, 2, [1, 2], []),
    ],
)
def test_it_begins_after_the_second_dispatch_and_ends_so_many_steps_later(traced, first, steps, reports, notes):
    profile, _, said, actual = traced
    profile.started(first, steps)
    for step in reports:
        profile.progress(step, {})
    profile.finished(OUTCOME)
    profile.close()
    assert actual == notes
    assert len(said) == 1
    if notes:
        assert f"traced {notes[1][1] - notes[0][1]} steps" in said[0]
    else:
        assert "nothing was traced: the run ended before its third dispatch" in said[0]


def test_a_trace_that_fails_is_said_and_the_run_goes_on(traced, monkeypatch):
    profile, heard, said, notes = traced

    def fails(*args, **more):
        raise RuntimeError("Only one profile may be run at a time.")

    monkeypatch.setattr(jax.profiler, "start_trace", fails)
    profile.started(0, 9)
    for step in range(1, 10):
        profile.progress(step, {})
    profile.finished(OUTCOME)
    assert said == ["nothing is traced: Only one profile may be run at a time."]
    assert notes == []
    assert len(heard.calls) == 11


def test_a_run_that_fails_leaves_no_trace_running(traced, monkeypatch, tmp_path):
    *_, notes = traced
    monkeypatch.setattr(profile, "Profile", lambda *args: traced[0])
    report = Report(tmp_path, batch=1, levels=2, stream=io.StringIO(), live=False)

    def fails():
        with profiled(report, tmp_path, 3) as reporter:
            reporter.started(0, 9)
            for step in (1, 2, 3):
                reporter.progress(step, {})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert [name for name, _ in notes] == ["begin", "end"]
    with profiled(report, tmp_path, None) as reporter:
        assert reporter is report
    report.close()


def test_a_run_is_traced_for_tensorboard_and_perfetto(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    face_recipes.write(tmp_path)
    knobs = ("--steps", 8, "--every", 8, "--run", "a run")
    code, _, err = said(capsys, "train", "tiny", *knobs, "--profile", 3)
    assert code == 0
    (line,) = (line for line in err.splitlines() if line.startswith("traced"))
    assert line.startswith("traced 3 steps: see `tensorboard --logdir 'a run/profile'`")
    path = Path(line.split("open ")[1].split(" at ")[0])
    assert path.parent.parent == Path("a run/profile/plugins/profile")  # where TensorBoard looks
    assert [p.stat().st_size > 1000 for p in path.parent.glob("*.xplane.pb")] == [True]
    events = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    marks = [event["args"]["step_num"] for event in events if event.get("name") == "train"]
    assert sorted(int(mark) for mark in marks) == [2, 3, 4]
    assert any("Execut" in event.get("name", "") for event in events)


@pytest.mark.parametrize("steps", [0, -3])
def test_fewer_steps_than_one_are_refused(tmp_path, monkeypatch, capsys, steps):
    monkeypatch.chdir(tmp_path)
    face_recipes.write(tmp_path)
    assert f"--profile must be at least 1, got {steps}." in refused(capsys, "train", "tiny", "--profile", steps)
