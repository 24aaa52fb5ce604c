"""Runs listed and compared: every figure against the runs' own files, states, pictures by their data, hostile files."""

import json
import os
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from helpers import recipes as face_recipes
from helpers.cli import after, refused, said
from PIL import Image

from jaxgen.cli.commands.compare import shared
from jaxgen.cli.main import main
from jaxgen.pictures import curves
from jaxgen.runs.history import read_summary
from jaxgen.runs.lock import claimed, is_claimed
from jaxgen.runs.log import read_log


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two runs of a pixel model, one of them in two processes' turns, a stopped one, and a GAN."""
    home = tmp_path_factory.mktemp("compared")
    face_recipes.write(home)

    def train(name, to, *knobs, code=0):
        assert main(["train", str(home / "experiments" / f"{name}.py"), "--run", str(home / to), *knobs]) == code

    train("tiny", "short")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxgen.cli.commands.train._Interrupts.__call__", after(3))
        train("tiny", "deep/long", "--steps", "6", "--every", "3", code=130)
    shutil.copytree(home / "deep" / "long", home / "stopped")
    train("tiny", "deep/long", "--steps", "6", "--every", "3")
    train("gan", "gan")
    return home


@pytest.fixture
def runs(trained, tmp_path):
    """A copy to break."""
    return shutil.copytree(trained, tmp_path / "runs")


def records(folder, split):
    """Straight from the file: the lines of a split."""
    every = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [r for r in every if r["split"] == split]


def listed(capsys, folder="runs"):
    code, out, err = said(capsys, "runs", folder, "--json")
    assert (code, err) == (0, "")
    return {row["run"].removeprefix("runs/"): row for row in json.loads(out)}


def compared(capsys, *args):
    code, out, err = said(capsys, "compare", *args, "--json")
    assert (code, err) == (0, "")
    return json.loads(out)


# --- runs ----------------------------------------------------------------------------------------------------------


def test_rows_are_what_the_files_say(runs, capsys):
    rows = listed(capsys)
    assert list(rows) == ["deep/long", "gan", "short", "stopped"]
    for name, row in rows.items():
        folder = runs / name
        valid = [(r["bits_per_dim"], r["step"]) for r in records(folder, "valid")]
        if name == "gan":
            assert (row["best"], row["test"], row["model"]) == (None, None, "DCGAN")
        else:
            value, step = min(valid)
            assert row["best"] == {"metric": "bits_per_dim", "value": value, "step": step}
        assert row["step"] == max(int(p.name) for p in (folder / "checkpoints").iterdir() if p.name.isdigit())
        assert row["steps"] == json.loads((folder / "run.json").read_text())["knobs"]["steps"]
        assert row["data"] == "digits"
        assert row["seconds"] == max(r["seconds"] for r in read_log(folder / "metrics.jsonl"))
        moment = time.mktime(time.strptime(row["written"][:19], "%Y-%m-%dT%H:%M:%S"))
        assert moment == int(max(p.stat().st_mtime for p in folder.iterdir() if p.name != ".lock"))
    for name in ("short", "deep/long"):
        result = json.loads((runs / name / "result.json").read_text())
        assert rows[name]["test"]["value"] == result["metrics"]["test/bits_per_dim"]
        assert rows[name]["test"]["step"] == rows[name]["best"]["step"] == result["best_step"]
        assert rows[name]["state"] == "complete"
    assert (rows["stopped"]["state"], rows["stopped"]["test"]) == ("stopped", None)


def test_the_table_has_a_line_for_each(runs, capsys):
    head, *lines = said(capsys, "runs")[1].splitlines()
    assert head.split() == ["run", "model", "data", "step", "best", "valid", "test", "state", "written"]
    row = listed(capsys)["stopped"]
    cells = lines[3].split("  ")
    assert [cell.strip() for cell in cells if cell.strip()] == [
        *("runs/stopped", "PixelCNN", "digits", "3 of 6", f"{row['best']['value']:.5g} bits/dim at 3", "–", "stopped"),
        row["written"][:16].replace("T", " "),
    ]


def test_states_follow_the_lock_and_the_checkpoints(runs, capsys):
    folder = runs / "stopped"
    with claimed(folder):
        assert listed(capsys)["stopped"]["state"] == "training"
        assert listed(capsys)["short"]["state"] == "complete"
    assert listed(capsys)["stopped"]["state"] == "stopped"
    with (folder / "metrics.jsonl").open("a") as log:
        log.write('{"step": 5, "split": "train", "seconds": 1.0, "nats": 1.0}\n{"step": 6, "spl')
    row = listed(capsys)["stopped"]
    assert (row["state"], row["step"], row["logged"]) == ("interrupted", 3, 5)
    shutil.rmtree(folder / "checkpoints")
    (folder / "checkpoints" / "7.orbax-checkpoint-tmp").mkdir(parents=True)
    row = listed(capsys)["stopped"]
    assert (row["state"], row["step"]) == ("no checkpoint", None)
    with claimed(folder):
        assert listed(capsys)["stopped"]["state"] == "training"


def test_looking_at_a_lock_does_not_keep_a_run_from_starting(tmp_path):
    import fcntl

    (tmp_path / ".lock").touch()
    with (tmp_path / ".lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        waiting = threading.Timer(0.02, fcntl.flock, (lock, fcntl.LOCK_UN))
        waiting.start()
        with claimed(tmp_path):
            assert is_claimed(tmp_path)
        waiting.join()
    assert not is_claimed(tmp_path)


def test_links_to_runs_are_listed_and_hidden_or_inner_folders_are_not(runs, capsys):
    shutil.copytree(runs / "gan", runs / ".gan.17.part")
    shutil.copytree(runs / "gan", runs / "short" / "inner")
    (runs / "linked").symlink_to(runs / "short")
    (runs / "round").symlink_to(runs)
    assert list(listed(capsys)) == ["linked", "deep/long", "gan", "short", "stopped"]
    assert list(listed(capsys, "runs/short")) == ["short"]


HOSTILE = {
    "torn record": ("run.json", '{"format": 2, "kno', "run.json is not JSON"),
    "nested": ("run.json", "[" * 100_000, "run.json is not JSON"),
    "binary": ("run.json", b"\xff\xfe\x00\x01", "run.json is not JSON"),
    "another form": ("run.json", '{"format": 9, "recipe": "x.py", "knobs": {}}', "format 9, this jaxgen reads 2"),
    "foreign": ("run.json", "[1, 2]", "run.json is not the record of a run"),
    "knobs": ("run.json", '{"format": 2, "recipe": "x.py", "knobs": [1]}', "run.json is not the record of a run"),
    "empty result": ("result.json", "", "result.json is not JSON"),
    "foreign result": ("result.json", "3", "result.json is not the record of a run"),
    "noise for a log": ("metrics.jsonl", b"\x00\xff\n" * 9, "metrics.jsonl holds no records"),
    "a folder for a log": ("metrics.jsonl", None, "metrics.jsonl is no file"),
    "a folder for a record": ("run.json", None, "run.json"),
    "a pipe for a result": ("result.json", "pipe", "result.json is no file"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_broken_file_is_named_in_its_row(name, runs, capsys):
    file, content, reason = HOSTILE[name]
    path = runs / "short" / file
    path.unlink()
    if content is None:
        (path / "inner").mkdir(parents=True)
    elif content == "pipe":
        os.mkfifo(path)
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    rows = listed(capsys)
    if name == "a folder for a record":
        assert list(rows) == ["deep/long", "gan", "stopped"]  # no run, as for every other command
    else:
        assert rows["short"] == {"run": "runs/short", "state": "unreadable", "reason": rows["short"]["reason"]}
        assert reason in rows["short"]["reason"]
        assert f"unreadable: {rows['short']['reason']}" in said(capsys, "runs")[1]
    assert len(rows) >= 3
    assert reason in refused(capsys, "compare", "runs/short", "runs/deep/long")


def test_values_of_any_kind_are_shown_without_harm(runs, capsys):
    about = json.loads((runs / "short" / "run.json").read_text())
    odd = {"model": "\x1b[2J$x_\ud800", "data": {"a": []}, "shape": ["8", None], "levels": {}, "versions": 3}
    odd["knobs"] = {"steps": "many", "lr": 10**400, "note": "\x07"}
    (runs / "short" / "run.json").write_text(json.dumps(about | odd | {"steps": None}))
    with (runs / "short" / "metrics.jsonl").open("a") as log:
        for value in ("1e999", "NaN", "null", '"x"', "[1]", "true", "1" + "0" * 400, "-1e300"):
            log.write(f'{{"step": 4, "split": "valid", "seconds": {value}, "bits_per_dim": {value}, "nats": 1}}\n')
    os.utime(runs / "short" / "metrics.jsonl", (0, 2**40))
    row = listed(capsys)["short"]
    assert row["best"] == {"metric": "bits_per_dim", "value": -1e300, "step": 4}
    out = said(capsys, "runs")[1]
    assert "?[2J$x_?" in out
    assert "\x1b" not in out
    assert said(capsys, "compare", "runs/short", "runs/deep/long")[0] == 0
    assert Path("compare.png").is_file()


def test_no_runs_are_said(capsys):
    assert "there is no folder runs: `jaxgen train RECIPE` makes runs/" in refused(capsys, "runs")
    Path("runs").mkdir()
    assert said(capsys, "runs") == (0, "", "there are no runs below runs; `jaxgen train RECIPE` makes one.\n")
    assert said(capsys, "runs", "--json")[1] == "[]\n"


# --- compare -------------------------------------------------------------------------------------------------------


def test_the_comparison_tells_what_differs_and_leaves_out_what_is_equal(runs, capsys):
    actual = compared(capsys, "runs/short", "runs/deep/long", "-o", "c.png")
    assert (actual["output"], actual["metrics"]) == ("c.png", ["bits_per_dim"])
    assert [row["settings"] for row in actual["runs"]] == [{"steps": 4, "every": 2}, {"steps": 6, "every": 3}]
    rows = listed(capsys)
    for row in actual["runs"]:
        own = rows[row["run"].removeprefix("runs/")]
        assert {name: row[name] for name in ("step", "best", "test", "seconds", "state")} == {
            name: own[name] for name in ("step", "best", "test", "seconds", "state")
        }
    page = Image.open("c.png")
    assert page.width == 1200
    assert len(page.convert("RGB").getcolors(1 << 20)) > 10
    head, short, long, path = said(capsys, "compare", "runs/short", "runs/deep/long")[1].splitlines()
    assert head.split() == ["run", "steps", "every", "step", "best", "valid", "test", "time", "state"]
    assert (short.split()[:6], long.split()[:6]) == (
        ["runs/short", "4", "2", "4", "of", "4"],
        ["runs/deep/long", "6", "3", "6", "of", "6"],
    )
    assert path == "compare.png"
    assert not list(Path().glob("*.part"))


def test_other_recipes_and_versions_are_differences_and_many_of_them_turn_the_table(runs, capsys):
    path = runs / "deep" / "long" / "run.json"
    about = json.loads(path.read_text())
    about["versions"]["jax"] = "0.0.1"
    about["recipe"] = "other.py"
    about["knobs"] = {name: value for name, value in about["knobs"].items() if name in ("steps", "ema")} | {"more": [1]}
    path.write_text(json.dumps(about))
    first, second = (row["settings"] for row in compared(capsys, "runs/short", "runs/deep/long")["runs"])
    assert (second["recipe"], second["jax"], second["more"], second["lr"]) == ("other", "0.0.1", [1], None)
    assert (first["recipe"], first["more"], first["lr"]) == ("tiny", None, 1e-2)
    assert "ema" not in first
    lines = said(capsys, "compare", "runs/short", "runs/deep/long")[1].splitlines()
    assert lines[0].split() == ["run", "runs/short", "runs/deep/long"]
    assert {line.split()[0]: line.split()[1:] for line in lines[1:]}["more"] == ["–", "[1]"]


@pytest.mark.parametrize(("by", "field"), [("steps", "step"), ("seconds", "seconds")])
def test_lines_are_the_runs_own_figures(runs, capsys, monkeypatch, by, field):
    made = []
    monkeypatch.setattr(curves, "save", lambda figure, path: made.append(figure))
    names = ("short", "deep/long", "stopped")
    actual = compared(capsys, *(f"runs/{name}" for name in names), "--by", by)
    (figure,) = made
    (axis,) = figure.axes
    assert axis.get_ylabel() == "bits/dim"
    scale = {"steps": 1, "seconds": 1, "minutes": 60, "hours": 3600}[axis.get_xlabel()]
    assert (axis.get_xlabel() == "steps") == (by == "steps")
    for kind in ("train", "valid"):
        lines = [line for line in axis.lines if line.get_gid() == kind]
        for name, line in zip(names, lines, strict=True):
            wanted = [(r[field], r["bits_per_dim"]) for r in records(runs / name, kind)]
            np.testing.assert_allclose(line.get_xydata() * (scale, 1), wanted)
    rings = [line.get_xydata()[0] for line in axis.lines if line.get_gid() == "best"]
    bold, thin = ([line for line in axis.lines if line.get_gid() == kind] for kind in ("valid", "train"))
    assert all(b.get_linewidth() > 2 * t.get_linewidth() for b, t in zip(bold, thin))
    assert all(line.get_marker() not in ("", "None") for line in bold)
    entries = [text.get_text() for text in figure.legends[0].get_texts()]
    for row, ring, entry in zip(actual["runs"], rings, entries):
        assert ring[1] == row["best"]["value"]
        assert f"best {row['best']['value']:.5g} bits/dim at {row['best']['step']}" in entry
    assert entries[0].startswith("runs/short: steps 4, every 2   best")  # two of the three have the same settings
    low, high = axis.get_ylim()
    assert all(low < y < high for line in bold for y in line.get_ydata())


def test_time_goes_on_where_a_resumed_run_does(trained):
    before, after = (records(trained / name, "train") for name in ("stopped", "deep/long"))
    assert after[: len(before)] == before
    seconds = [r["seconds"] for r in after]
    assert seconds == sorted(seconds)
    assert seconds[len(before)] > before[-1]["seconds"]


def test_a_gan_has_a_panel_for_each_loss_and_one_run_is_enough(runs, capsys, monkeypatch):
    made = []
    monkeypatch.setattr(curves, "save", lambda figure, path: made.append(figure))
    assert compared(capsys, "runs/gan")["metrics"] == ["critic/loss", "generator/loss"]
    for axis, name in zip(made[0].axes, ("critic/loss", "generator/loss"), strict=True):
        assert axis.get_ylabel() == name
        (line,) = axis.lines
        assert line.get_ydata().tolist() == [r[name] for r in records(runs / "gan", "train")]


def test_nats_follow_for_binary_images_and_bits_from_nats(runs):
    path = runs / "short" / "run.json"
    about = json.loads(path.read_text())
    path.write_text(json.dumps(about | {"levels": 2}))
    read = read_summary(runs / "short")
    assert read.best.metric == "nats"
    assert shared([read, read]) == ["nats"]
    assert shared([read, read_summary(runs / "deep" / "long")]) == ["bits_per_dim"]
    bare = [{name: v for name, v in r.items() if name != "bits_per_dim"} for r in read.records]
    (runs / "short" / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in bare))
    derived = read_summary(runs / "short").curve("valid", "bits_per_dim")
    np.testing.assert_allclose(derived, read.curve("valid", "bits_per_dim"), rtol=1e-6)


def test_the_first_noisy_values_do_not_squash_the_rest():
    x = np.arange(1.0, 1001.0)
    falling = curves.Curve(
        [(s, 2 + 1000 / s**1.5) for s in x.tolist()], [(s, 2 + 1000 / s**1.5) for s in (100.0, 1000.0)]
    )
    low, high = curves.window([falling])
    assert low == pytest.approx(2, abs=0.05)
    assert high == pytest.approx(3, abs=0.1)  # what it is after the first tenth
    spiked = curves.Curve([(s, 1e6 if s == 500 else 1 + s / 1000) for s in x.tolist()], [])
    assert curves.window([spiked])[1] < 2.1
    flat = curves.Curve([(s, 1.0 + 0.1 * (s % 3)) for s in x.tolist()], [])
    assert curves.window([flat]) == (1.0, 1.2)
    assert curves.window([curves.Curve([], [])]) is None
    figure = curves.figure({"loss": [curves.Curve([(s, 10.0 ** (-s / 100)) for s in x.tolist()], [])]}, ["a"], "steps")
    assert figure.axes[0].get_yscale() == "log"


def test_labels_tell_runs_apart_in_few_words():
    a, b = {"lr": "0.1", "width": "4"}, {"lr": "0.2"}
    assert curves.labelled([a, b], ["x", "y"]) == ["lr 0.1, width 4", "lr 0.2"]
    long = {"note": "n" * 80}
    assert curves.labelled([a | long, b | long], ["x", "y"]) == ["lr 0.1", "lr 0.2"]
    assert curves.labelled([{}, {}], ["x", "y"]) == ["x", "y"]
    assert curves.labelled([b, b, {}], ["x", "y", "z"]) == ["x: lr 0.2", "y: lr 0.2", "z"]
    assert curves.labelled([{"note": "n" * 80}, {"note": "m" * 80}], ["x", "y" * 90]) == ["x", "…" + "y" * 69]


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        ([], ["wants RUN [RUN ...]", "jaxgen runs"]),
        (["nowhere"], ["there is no run nowhere"]),
        (["runs"], ["runs is no run folder", "jaxgen runs runs"]),
        (["runs/short", "runs/gan"], ["no curve in common", "short has bits/dim, nats, loss", "gan has critic/loss"]),
        (["runs/short", "runs/silent"], ["runs/silent has logged nothing to draw yet"]),
        (["runs/short", "-o", "c.svg"], ["--out wants a name that ends in .png, got 'c.svg'"]),
        (["runs/short", "--out", "no/c.png"], ["--out no/c.png: its folder is not there"]),
        (["runs/short", "--by", "hours"], ["--by", "hours"]),
    ],
    ids=" ".join,
)
def test_what_cannot_be_compared_is_said_and_nothing_is_written(args, parts, runs, capsys):
    shutil.copytree(runs / "short", runs / "silent", ignore=shutil.ignore_patterns("metrics.jsonl"))
    message = refused(capsys, "compare", *args)
    for part in parts:
        assert part in message
