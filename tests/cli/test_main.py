"""The command line: a run from its recipe to pictures, bad input in one sentence, exit codes."""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers import recipes as face_recipes
from helpers.cli import after, answered, refused, said, saved

from jaxgen.cli.main import main
from jaxgen.runs.log import read_log


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    face_recipes.write(tmp_path)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A trained pixel model and a trained GAN."""
    return face_recipes.train(tmp_path_factory.mktemp("runs"), "tiny", "gan")


# --- what works ----------------------------------------------------------------------------------------------------


def test_train_ends_with_figures_baselines_grid_and_what_to_type_next(capsys):
    code, out, err = said(capsys, "train", "tiny")
    assert code == 0
    assert "bits/dim" in out
    assert "against 2.433 of per-pixel histograms and 4.087 of uniform pixels" in out
    assert "samples   runs/tiny/samples/00000004.png" in out
    assert Path("runs/tiny/samples/00000004.png").is_file()
    assert "1,294 train, 143 valid, 360 test images" in err
    assert "test/bits_per_dim" in out  # the range that the recipe expects
    for command in (line[10:] for line in out.splitlines() if line[10:].startswith("jaxgen ")):
        assert main(command.split()[1:]) == 0, command


def test_the_same_command_resumes_and_a_complete_run_is_not_repeated(capsys):
    whole = json.loads(said(capsys, "train", "tiny", "--run", "whole", "--json")[1])
    args = ("train", "tiny", "--run", "parts", "--json")
    from jaxgen.engine import fit

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxgen.cli.commands.train._Interrupts.__call__", after(2))
        code, out, err = said(capsys, *args)
        assert (code, out) == (130, "")
        assert "stopped and saved at step 2 in parts; the same command resumes" in err
    code, out, err = said(capsys, *args)
    assert code == 0
    assert "resuming at step 2 of 4" in err
    parts = json.loads(out)
    assert parts["metrics"] == whole["metrics"]
    assert parts["baselines"] == whole["baselines"]
    steps = [(r["step"], r["split"]) for r in read_log(Path("parts/metrics.jsonl"))]
    assert steps == [(r["step"], r["split"]) for r in read_log(Path("whole/metrics.jsonl"))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit, "fit", None)  # a complete run is neither trained nor tested again
        code, out, err = said(capsys, *args)
    assert json.loads(out) == parts
    assert "is complete; --fresh starts over" in err


def test_sample_evaluate_complete_and_inspect_of_a_run(runs, capsys, tmp_path):
    run = runs / "tiny"
    assert said(capsys, "sample", run, "--num", 8, "--seed", 3, "-o", "a.png")[0] == 0
    assert said(capsys, "sample", run, "--num", 8, "--seed", 3, "-o", "a.npz")[0] == 0
    with np.load("a.npz") as saved:
        assert saved["image"].shape == (8, 8, 8, 1)
    from PIL import Image

    assert np.asarray(Image.open("a.png")).shape[1] >= 480
    actual = json.loads(said(capsys, "evaluate", run, "--split", "test", "--json")[1])
    result = json.loads((run / "result.json").read_text())
    assert actual["nats"] == pytest.approx(result["metrics"]["test/nats"], rel=1e-5)
    assert actual["count"] == 360
    assert "360 test images of digits" in said(capsys, "evaluate", run, "--data", "digits")[1]
    image = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 1)).astype(np.uint8)
    np.savez("photos.npz", train=image, test=image)  # 256 levels, which the recipe brings down to the model's
    assert json.loads(said(capsys, "evaluate", run, "--data", "photos.npz", "--json")[1])["count"] == 20
    actual = json.loads(said(capsys, "inspect", run, "--json")[1])
    assert actual["can"] == ["Scored", "Density", "Autoregressive", "Sampler", "Completer"]
    assert actual["parameters"] == sum(m["parameters"] for m in actual["modules"].values())
    assert actual["bytes"] == 4 * actual["parameters"]
    assert actual["step"]["flops"] > 0
    text = said(capsys, "inspect", "tiny", "--width", "4")[1]
    assert f"{actual['parameters']:,}" in text
    assert "cannot    Latent: " in text
    assert said(capsys, "inspect", "gan")[1].count("trains") == 1


def test_parameters_of_inspect_are_those_of_the_run(runs, capsys):
    import jax

    import jaxgen

    leaves = jax.tree.leaves(jaxgen.load(runs / "gan").variables["params"])
    actual = json.loads(said(capsys, "inspect", runs / "gan", "--json")[1])
    assert actual["parameters"] == sum(x.size for x in leaves)
    assert [o["name"] for o in actual["objectives"]] == ["critic", "generator"]


@pytest.mark.parametrize("spec", ["mine.npz", "npz:mine.npz"])
def test_a_run_is_opened_where_its_data_are_not(spec, capsys, monkeypatch):
    """Nothing but evaluation needs them, and that says from where they were named."""
    image = np.random.default_rng(0).integers(0, 17, (24, 8, 8, 1)).astype(np.uint8)
    np.savez("mine.npz", train=image, valid=image, levels=17)
    args = ("--data", spec, "--steps", 1, "--every", 1, "--run", "r")
    path, home = Path("experiments/tiny.py"), Path.cwd()
    path.write_text(path.read_text().replace('requantised(source(data), levels) if data.endswith(".npz") else ', ""))
    assert said(capsys, "train", "tiny", *args)[0] == 0
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    assert said(capsys, "sample", home / "r", "--num", 2)[0] == 0
    assert said(capsys, "inspect", home / "r")[0] == 0
    message = refused(capsys, "evaluate", home / "r", "--split", "valid")
    assert "mine.npz" in message
    assert f"the run was started in {home}." in message
    Path(home / "mine.npz").unlink()
    monkeypatch.chdir(home)
    assert said(capsys, "sample", "r", "--num", 2)[0] == 0
    assert "started" not in refused(capsys, "evaluate", "r", "--split", "valid")


@pytest.mark.parametrize("keep", ["top-half", "bottom-half", "left-half", "right-half", "mask.png"])
def test_completions_keep_what_is_given(runs, capsys, keep):
    from PIL import Image

    mask = np.zeros((8, 8), np.uint8)
    mask[2:5, 3:] = 255
    Image.fromarray(mask).save("mask.png")
    args = ("--num", 2, "--completions", 4, "--keep", keep, "-o", "c.png", "--json")
    assert said(capsys, "complete", runs / "tiny", *args)[0] == 0
    cells = _cells("c.png", rows=2, columns=6)
    given = {
        "top-half": np.s_[:4, :], "bottom-half": np.s_[4:, :], "left-half": np.s_[:, :4], "right-half": np.s_[:, 4:],
        "mask.png": np.s_[2:5, 3:],
    }[keep]  # fmt: skip
    known = np.zeros((8, 8), bool)
    known[given] = True
    for row in cells:
        original, partial, *drawn = row
        assert (partial[~known] == 96).all()
        for image in (partial, *drawn):
            np.testing.assert_array_equal(image[known], original[known])
        assert any((image[~known] != original[~known]).any() for image in drawn)


def _cells(path, rows, columns):
    from PIL import Image

    page = np.asarray(Image.open(path))
    scale = page.shape[1] // (columns * 9 + 1)
    page = page[::scale, ::scale]
    return [[page[r * 9 + 1 : r * 9 + 9, c * 9 + 1 : c * 9 + 9] for c in range(columns)] for r in range(rows)]


def test_a_picture_of_the_users_is_completed(runs, capsys):
    from PIL import Image

    picture = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(picture).save("mine.png")
    args = ("--images", "mine.png", "--completions", 8, "-o", "c.png")
    assert said(capsys, "complete", runs / "tiny", *args)[0] == 0
    gray = np.asarray(Image.open("mine.png").convert("L")).astype(int)
    np.testing.assert_allclose(_cells("c.png", 1, 10)[0][0], gray * 17 // 256 * 255 / 16, atol=0.51)


# --- bad input -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        (["trian"], ["no command 'trian'", "Did you mean 'train'?"]),
        (["train"], ["the recipe comes first", "jaxgen list"]),
        (["train", "--width", "3"], ["the recipe comes first"]),
        (["train", "tny"], ["no recipe 'tny'", "Did you mean 'tiny'?", "Known recipes:", "gan"]),
        (["train", "nowhere/x.py"], ["no recipe file", "nowhere/x.py"]),
        (["train", "experiments/shared_by_tests.py"], ["is no recipe"]),
        (["train", "tiny", "--wdth", "3"], ["no flag --wdth", "Did you mean '--width'?", "--data", "--levels"]),
        (["train", "tiny", "--width", "wide"], ["--width wants int, got 'wide'"]),
        (["train", "tiny", "--lr", "nan"], ["'lr' wants float, got nan"]),
        (["train", "tiny", "--lr", "inf"], ["'lr' wants float, got inf"]),
        (["train", "tiny", "--width"], ["--width", "jaxgen train tiny --help"]),
        (["train", "tiny", "more"], ["does not know what to do with 'more'"]),
        (["train", "tiny", "--data", "digts"], ["unknown data 'digts'", "Did you mean digits"]),
        (["train", "tiny", "--data", "tfds:mnist"], ["mnist", "jaxgen data prepare mnist"]),
        (["train", "tiny", "--data", "empty"], ["empty", "no pictures"]),
        (["train", "tiny", "--data", "idx"], ["train-images-idx3-ubyte", "truncated"]),
        (["train", "tiny", "--data", "pictures"], ["b.png", "cannot be decoded"]),
        (["train", "tiny", "--batch", "12"], ["batch must be a positive multiple of the 8 devices", "got 12"]),
        (["train", "tiny", "--batch", "0"], ["batch must be", "got 0"]),
        (["train", "tiny", "--batch", "4096"], ["batch 4096 is larger than the 1294 training examples"]),
        (["train", "tiny", "--steps", "-1"], ["steps must be at least 1, got -1"]),
        (["train", "tiny", "--seed", str(2**32)], ["seed must be a whole number from 0 to 4294967295, got 4294967296"]),
        (["sample", "{runs}/tiny", "--seed", "-1"], ["seed must be a whole number from 0", "got -1"]),
        (["complete", "{runs}/tiny", "--seed", str(2**63)], ["seed must be a whole number from 0", f"got {2**63}"]),
        (["evaluate", "{runs}/tiny", "--seed", str(2**64)], ["seed must be a whole number from 0", f"got {2**64}"]),
        (["rank", "{runs}/tiny", "--seed", str(2**32)], ["seed must be a whole number from 0"]),
        (["verify", "tiny", "--seed", str(2**32)], ["seed must be a whole number from 0"]),
        (["train", "tiny", "--size", "9"], ["(9, 9, 1) with 17 levels", "'digits' has (8, 8, 1) with 17"]),
        (["train", "tiny", "--levels", "16"], ["with 16 levels", "with 17"]),
        (["train", "tiny", "--run", "full"], ["full holds something that is no run"]),
        (["train", "tiny", "--run", "{runs}/tiny", "--width", "5"], ["holds another run: width is 4 there, 5 here"]),
        (["train", "tiny", "--run", "{runs}/gan"], ["its recipe is gan, not tiny"]),
        (["sample"], ["wants RUN;"]),
        (["sample", "nowhere"], ["there is no run nowhere", "jaxgen train"]),
        (["sample", "empty"], ["empty is no run folder"]),
        (["sample", "{runs}/tiny", "--num", "0"], ["--num must be at least 1, got 0"]),
        (["sample", "{runs}/tiny", "--step", "3"], ["no checkpoint of step 3", "2, 4"]),
        (["sample", "{runs}/tiny", "--step", "bst"], ["--step wants best, last or a number, got 'bst'"]),
        (["sample", "{runs}/tiny", "-o", "x.jpg"], ["a name that ends in .png, .gif or .npz, got 'x.jpg'"]),
        (["sample", "{runs}/tiny", "-o", "no/x.png"], ["its folder is not there"]),
        (["evaluate", "{runs}/gan"], ["DCGAN cannot be evaluated", "Models that can: ", "PixelCNN"]),
        (["evaluate", "{runs}/tiny", "--split", "tset"], ["tset", "test"]),
        (["evaluate", "{runs}/tiny", "--data", "other.npz"], ["8×8×1 images of 17 levels", "9×9×1 of 17"]),
        (["evaluate", "{runs}/tiny", "--batch", "0"], ["--batch must be at least 1"]),
        (["complete", "{runs}/gan"], ["DCGAN cannot complete images"]),
        (["complete", "{runs}/tiny", "--keep", "middle"], ["--keep wants top-half", "got 'middle'"]),
        (["complete", "{runs}/tiny", "--keep", "pictures/a.png"], ["mask pictures/a.png is 9×9", "8×8"]),
        (["complete", "{runs}/tiny", "--keep", "pictures/b.png"], ["b.png", "cannot be decoded"]),
        (["complete", "{runs}/tiny", "--images", "pictures/a.png"], ["pictures/a.png has 9×9×1"]),
        (["complete", "{runs}/tiny", "--images", "nowhere"], ["unknown data 'nowhere'"]),
        (["inspect", "tny"], ["no recipe 'tny'"]),
        (["inspect", "empty"], ["empty is no run folder"]),
        (["inspect", "tiny", "--data", "digts"], ["unknown data 'digts'", "Did you mean digits"]),
        (["inspect", "tiny", "--table-depth", "0"], ["--table-depth must be at least 1"]),
        (["bench", "tiny", "--batch", "12"], ["batch must be a positive multiple of the 8 devices"]),
        (["bench", "tiny", "--data", "digts"], ["unknown data 'digts'", "Did you mean digits"]),
        (["evaluate", "{runs}/tiny", "--data", "digts"], ["unknown data 'digts'", "Did you mean digits"]),
        (["bench", "nope"], ["no recipe 'nope'"]),
        (["data"], ["wants list, prepare or show"]),
        (["data", "shw"], ["got 'shw'. Did you mean 'show'?"]),
        (["data", "show", "nope"], ["unknown data 'nope'"]),
        (["data", "show", "digits", "--num", "0", "-o", "x.png"], ["--num must be at least 1, got 0"]),
        (["data", "show", "digits", "--num", "-5", "-o", "x.png"], ["--num must be at least 1, got -5"]),
        (["data", "show", "digits", "-o", "x.gif"], ["ends in .png"]),
        (["data", "prepare", "mnst", "--from", "empty"], ["cannot prepare 'mnst'", "mnist"]),
        (["data", "prepare", "mnist"], ["--from"]),
        (["data", "prepare", "mnist", "--from", "empty", "--to", "there"], ["train-images-idx3-ubyte.gz", "missing"]),
    ],
    ids=" ".join,
)
def test_bad_input_gets_one_sentence_and_writes_nothing(args, parts, runs, capsys, monkeypatch):
    _bad_data()
    monkeypatch.setenv("TFDS_DATA_DIR", str(Path("tfds").absolute()))
    message = refused(capsys, *[arg.replace("{runs}", str(runs)) for arg in args])
    for part in parts:
        assert part in message


def _bad_data():
    """A folder with nothing, one with a file, a truncated IDX file, a corrupt picture, images of another size."""
    from PIL import Image

    for name in ("empty", "full", "idx", "pictures"):
        Path(name).mkdir()
    Path("full/thesis.tex").write_text("x")
    Path("idx/train-images-idx3-ubyte").write_bytes(bytes([0, 0, 8, 3, 0, 0, 0, 9, 0, 0, 0, 8, 0, 0, 0, 8]) + b"x" * 99)
    Path("idx/train-labels-idx1-ubyte").write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 9]) + bytes(9))
    Image.fromarray(np.zeros((9, 9), np.uint8)).save("pictures/a.png")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 9), np.uint8)).save("pictures/b.png")
    Path("pictures/b.png").write_bytes(Path("pictures/b.png").read_bytes()[:80])
    np.savez("other.npz", train=np.full((20, 9, 9, 1), 200, np.uint8), test=np.full((4, 9, 9, 1), 200, np.uint8))


def test_a_home_is_found_where_no_shell_has_put_it_in(runs, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    image = np.zeros((4, 8, 8, 1), np.uint8)
    np.savez("mine.npz", train=image, test=image)
    assert answered(capsys, "data", "show", "npz:~/mine.npz")["splits"]["test"]["count"] == 4
    actual = answered(capsys, "sample", runs / "tiny", "--num", 1, "--output=~/a.npz")
    assert (actual["output"], saved("a.npz").shape) == (str(tmp_path / "a.npz"), (1, 8, 8, 1))
    assert "there is no run " + str(tmp_path / "none") in refused(capsys, "sample", "~/none")
    monkeypatch.delenv("HOME")
    assert "there is no run ~nobody-of-this-name/r" in refused(capsys, "sample", "~nobody-of-this-name/r")


def test_a_place_that_cannot_be_written_is_refused_before_anything_is_computed(runs, capsys, monkeypatch):
    """For each command that leaves a file; its work is not begun."""
    import os

    import jaxgen.runs.load
    from jaxgen import verification

    (here := Path("here")).mkdir()
    np.savez("a.npz", image=np.zeros((1, 8, 8, 1), np.uint8))
    monkeypatch.setattr(jaxgen.runs.load, "opened", None)
    monkeypatch.setattr(verification, "verify", None)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name not in ("here", "tiny"))
    for args in (
        ["sample", runs / "tiny"],
        ["sample", runs / "tiny", "-o", here / "a.GIF"],
        ["sample", runs / "tiny", "-o", "a.png", "--frames", here / "frames"],
        ["complete", runs / "tiny", "-o", here / "a.png"],
        ["compress", runs / "tiny", "-o", here / "a.jgz"],
        ["decompress", runs / "tiny", "a.npz", "-o", here / "a.NPZ"],
        ["decompress", runs / "tiny", "a.npz", "-o", here / "pictures"],
        ["verify", "tiny", "-o", here / "a.png"],
        ["compare", runs / "tiny", "-o", here / "a.png"],
        ["data", "show", "digits", "-o", here / "a.png"],
    ):
        assert "cannot be written to" in refused(capsys, *args), args


def test_a_suffix_in_capitals_is_one(runs, capsys):
    from PIL import Image

    for name, kind in (("A.PNG", "PNG"), ("A.GIF", "GIF")):
        assert said(capsys, "sample", runs / "tiny", "--num", 1, "-o", name)[0] == 0
        with Image.open(name) as picture:
            assert picture.format == kind
    assert said(capsys, "sample", runs / "tiny", "--num", 1, "-o", "A.NPZ")[0] == 0
    assert saved("A.NPZ").shape == (1, 8, 8, 1)


def test_devices_that_are_not_here_are_named_in_one_sentence(runs, capsys, monkeypatch):
    import jax

    def absent(*args):
        raise RuntimeError("Unable to initialize backend 'tpu': INTERNAL: Failed to open libtpu.so")

    monkeypatch.setenv("JAX_PLATFORMS", "tpu")
    monkeypatch.setattr(jax, "devices", absent)
    assert "JAX_PLATFORMS is 'tpu', and jax finds no such devices" in refused(capsys, "sample", runs / "tiny")


def test_a_run_without_a_checkpoint_says_so(runs, capsys):
    import shutil

    shutil.copytree(runs / "tiny", "bare", ignore=shutil.ignore_patterns("checkpoints"))
    assert "no checkpoints at" in refused(capsys, "sample", "bare")
    shutil.copytree(runs / "gan" / "checkpoints", "bare/checkpoints")
    assert "was not written by its recipe's PixelCNN" in refused(capsys, "sample", "bare")


def test_divergence_names_its_step_and_keeps_the_run(capsys):
    code, out, err = said(capsys, "train", "tiny", "--lr", "1e30", "--steps", "40", "--run", "r")
    assert (code, out) == (1, "")
    last = err.splitlines()[-1]
    assert last.startswith("jaxgen: ")
    assert "not finite at step" in last
    assert "Traceback" not in err


def test_a_full_disk_is_said_and_what_was_saved_is_kept(capsys, monkeypatch):
    from jaxgen.runs import report

    def full(*args):
        raise OSError(28, "No space left on device", "samples/x.png")

    with monkeypatch.context() as patch:
        patch.setattr(report, "write_grid", full)
        code, _, err = said(capsys, "train", "tiny", "--run", "r")
    assert code == 1
    assert err.splitlines()[-1].startswith("jaxgen: the disk is full (samples/x.png): free some space")
    assert said(capsys, "train", "tiny", "--run", "r")[0] == 0


def test_faults_of_ours_are_named_and_debug_shows_the_traceback(capsys, monkeypatch):
    from jaxgen.runs import recipes

    def broken():
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(recipes, "listing", broken)
    assert "ZeroDivisionError: ours (`--debug` shows where)" in refused(capsys, "list", code=1)
    code, _, err = said(capsys, "list", "--debug")
    assert code == 1
    assert "Traceback" in err
    assert "in broken" in err
    assert "Traceback" in said(capsys, "--debug", "sample", "nowhere")[2]
