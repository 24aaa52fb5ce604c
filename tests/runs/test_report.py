"""Reports: a log without gaps or repeats through kills and resumes, grids that can be read, TensorBoard."""

import io
import itertools
import json
import struct

import numpy as np
import pytest

from jaxgen.core.files import write_json
from jaxgen.pictures.grid import PICTURE_WIDTH
from jaxgen.runs import progress
from jaxgen.runs.log import open_log, read_log
from jaxgen.runs.progress import Speed
from jaxgen.runs.report import Report


def made(folder, **more):
    return Report(folder, batch=10, levels=3, **{"stream": io.StringIO(), "live": False, **more})


def losses(folder):
    return {r["step"]: r["loss"] for r in read_log(folder / "metrics.jsonl") if r["split"] == "train"}


def test_log_is_cut_at_the_step_that_a_run_resumes_from(tmp_path):
    path = tmp_path / "metrics.jsonl"
    lines = [json.dumps({"step": step, "split": "train", "loss": step}) for step in (1, 2, 3, 4)]
    path.write_text("\n".join(lines) + '\n{"step": 5, "split": "tr')
    with open_log(path, 3) as log:
        log.write(json.dumps({"step": 4, "split": "train", "loss": 40}) + "\n")
    assert [(r["step"], r["loss"]) for r in read_log(path)] == [(1, 1), (2, 2), (3, 3), (4, 40)]
    assert not list(tmp_path.glob("*.part"))


def test_a_torn_or_foreign_line_is_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('[1]\n{"step": 1}\nnoise\n{"split": "x"}\n{"step": 2}')
    assert read_log(path) == [{"step": 1}]


def test_a_killed_and_resumed_run_leaves_the_log_of_one_that_was_not(tmp_path):
    def go(folder, first, last, save):
        with made(folder) as reporter:
            reporter.started(first, 5000)
            for step in range(first + 1, last + 1):
                reporter.progress(step, {"loss": float(step)})
                if step == save:
                    reporter.saved(step)

    go(tmp_path / "whole", 0, 60, 22)
    go(tmp_path / "killed", 0, 41, 22)
    with (tmp_path / "killed" / "metrics.jsonl").open("a") as log:
        log.write('{"step": 42, "spl')
    go(tmp_path / "killed", 22, 60, None)
    whole, killed = losses(tmp_path / "whole"), losses(tmp_path / "killed")
    assert list(killed) == [5, 10, 15, 20, 22, 25, 30, 35, 40, 45, 50, 55, 60]
    assert killed == whole


def test_records_are_means_of_the_steps_since_the_one_before(tmp_path):
    with made(tmp_path) as reporter:
        reporter.started(0, 10_000)  # a record every 10 steps
        reporter.progress(4, {"loss": 1.0})  # dispatches of several steps weigh accordingly
        reporter.progress(9, {"loss": 2.0})
        reporter.progress(10, {"loss": 4.0, "rare": 7.0})
        reporter.progress(13, {"loss": 5.0})
        reporter.saved(13)
        reporter.saved(13)
    records = read_log(tmp_path / "metrics.jsonl")
    assert [(r["step"], r["loss"]) for r in records] == [(10, (4 * 1 + 5 * 2 + 4) / 10), (13, 5.0)]
    assert records[0]["rare"] == 7.0


def test_every_step_of_a_short_run_is_there_and_infinity_is_valid_json(tmp_path):
    with made(tmp_path) as reporter:
        reporter.started(0, 3)
        for step in (1, 2, 3):
            reporter.progress(step, {"loss": float("inf") if step == 2 else 1.0})
    text = (tmp_path / "metrics.jsonl").read_text()
    assert "Infinity" not in text
    assert list(losses(tmp_path).items()) == [(1, 1.0), (2, None), (3, 1.0)]


def test_lines_show_what_is_worth_a_place_and_of_a_split_every_figure_but_errors_and_counts(tmp_path):
    stream = io.StringIO()
    with made(tmp_path, stream=stream) as reporter:
        reporter.started(0, 1)
        reporter.highlighted({"rate"})
        reporter.progress(1, {"bits_per_dim": 0.9, "g/loss": 3.0, "loss": 1.0, "nats": 2.5, "norm": 4.0, "rate": 0.5})
        figures = {"nats": 5.5, "nats_stderr": 0.1, "bits_per_dim": 2.0, "fd": 7.0, "count": 5, "bound": False}
        reporter.evaluated(1, "valid", figures)
        reporter.evaluated(1, "samples", {"kid": 0.25})
    assert stream.getvalue().splitlines()[1:] == [
        "step 1/1  g/loss 3  loss 1  bits/dim 0.9  nats 2.5  rate 0.5",
        "step 1  valid  nats 5.5  bits/dim 2  fd 7",
        "step 1  samples  kid 0.25",
    ]
    train, valid, _ = read_log(tmp_path / "metrics.jsonl")  # where all are kept
    assert train["norm"] == 4.0
    assert figures.items() <= valid.items()


def test_figures_shown_are_means_of_the_steps_since_those_before(tmp_path, monkeypatch):
    actual = []
    with made(tmp_path) as reporter:
        monkeypatch.setattr(reporter._show, "progress", lambda step, figures: actual.append((step, figures["loss"])))
        monkeypatch.setattr(reporter._show, "due", lambda step: step in (1, 10))
        reporter.started(0, 100)
        for step, loss in ((1, 8.0), (4, 1.0), (9, 2.0), (10, 4.0)):  # dispatches of several steps weigh accordingly
            reporter.progress(step, {"loss": loss})
    assert actual == [(1, 8.0), (10, (3 * 1 + 5 * 2 + 4) / 9)]


def test_lines_are_rare_where_there_is_no_terminal(tmp_path):
    stream = io.StringIO()
    with made(tmp_path, stream=stream) as reporter:
        reporter.started(0, 500)
        for step in range(1, 501):
            reporter.progress(step, {"loss": 1.0})
    assert stream.getvalue().count("\n") == 3  # the announcement, the first step and the last


def test_speed_leaves_out_compilation_evaluation_and_saving(tmp_path, monkeypatch):
    clock = iter([0.0, 100.0, 101.0, 102.0, 300.0, 301.0])
    monkeypatch.setattr(progress.time, "perf_counter", lambda: next(clock))
    speed = Speed()
    speed.mark(1)  # compiling took 100 s
    assert speed.rate is None
    speed.mark(2)
    speed.mark(2)
    assert speed.rate == 2.0
    speed.pause()
    speed.mark(2)  # an evaluation took 198 s
    speed.mark(2)
    assert speed.rate == 2.0


def test_speed_is_of_the_last_half_minute_and_remembers_few_of_many_quick_steps(monkeypatch):
    clock = itertools.count(0.0, 1e-3)
    monkeypatch.setattr(progress.time, "perf_counter", lambda: next(clock))
    speed = Speed()
    for steps in [1] * 40_000 + [2] * 40_000:
        speed.mark(steps)
    assert speed.rate == pytest.approx(2000, rel=1e-3)
    assert len(speed._laps) < 400


def test_a_terminal_gets_a_bar(tmp_path):
    stream = io.StringIO()
    with made(tmp_path, stream=stream, live=True) as reporter:
        reporter.started(2, 4)
        reporter.progress(3, {"loss": 1.25})
        reporter.evaluated(3, "valid", {"nats": 1.0})
        reporter.progress(4, {"loss": 1.0})
    shown = stream.getvalue()
    assert "resuming at step 2 of 4" in shown
    assert "step 3  valid  nats 1" in shown
    assert "4/4" in shown


def test_grids_are_enlarged_whole_pixels_of_the_right_brightness(tmp_path):
    from PIL import Image

    image = np.array([[0, 1], [2, 1]], np.uint8).reshape(1, 2, 2, 1)
    with made(tmp_path) as reporter:
        reporter.started(0, 7)
        reporter.sampled(7, image)
    path = tmp_path / "samples" / "00000007.png"
    assert reporter.grid_of(7) == path
    assert reporter.grid_of(6) is None
    page = np.asarray(Image.open(path))
    scale = page.shape[1] // 4  # two pixels and a margin on each side
    assert page.shape == (4 * scale, 4 * scale)
    assert page.shape[1] >= PICTURE_WIDTH
    assert page[scale : 3 * scale : scale, scale : 3 * scale : scale].tolist() == [[0, 128], [255, 128]]
    assert not list(path.parent.glob("*.part"))


def test_tensorboard_reads_the_scalars_and_the_grid(tmp_path):
    with made(tmp_path) as reporter:
        reporter.started(0, 2)
        reporter.progress(1, {"loss": 0.5})
        reporter.evaluated(2, "valid", {"nats": 3.0})
        reporter.sampled(2, np.zeros((4, 2, 2, 1), np.uint8))
    actual = {}
    for event in _events(tmp_path / "tensorboard"):
        for value in event.summary.value:
            actual[value.tag, event.step] = value
    assert actual["train/loss", 1].simple_value == 0.5
    assert actual["valid/nats", 2].simple_value == 3.0
    assert actual["samples", 2].image.height == 7


def _events(folder):
    """Records of an event file: length, its checksum, message, its checksum."""
    from tensorboardX.proto.event_pb2 import Event

    (path,) = folder.glob("events.*")
    raw = path.read_bytes()
    while raw:
        (size,) = struct.unpack("<Q", raw[:8])
        yield Event.FromString(raw[12 : 12 + size])
        raw = raw[16 + size :]


def test_json_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}


def test_what_a_model_shows_lies_beside_its_samples(tmp_path):
    """Pictures as a grid, lines as text, of which the first are said."""
    stream = io.StringIO()
    with made(tmp_path, stream=stream) as reporter:
        reporter.started(0, 7)
        reporter.shown(7, "pairs", np.zeros((2, 2, 4, 1), np.uint8))
        reporter.shown(7, "sentences", [f"line {i}" for i in range(20)])
    assert (tmp_path / "samples/00000007-pairs.png").is_file()
    lines = (tmp_path / "samples/00000007-sentences.txt").read_text().splitlines()
    assert lines == [f"line {i}" for i in range(20)]
    assert [i for i in range(20) if f"    line {i}\n" in stream.getvalue()] == list(range(8))
