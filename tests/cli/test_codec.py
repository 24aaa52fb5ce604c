"""`jaxgen compress` and `decompress`: from files to files, in another process, or one sentence that says why not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import ROOT
from helpers import recipes as face_recipes
from PIL import Image

from jaxgen.cli.main import main
from jaxgen.codec import container
from jaxgen.data.arrays import digits

SHOWN = np.round(np.arange(17) * (255 / 16)).astype(np.uint8)
"""The grey of each of the digits' 17 levels in a picture."""


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A trained pixel model, one of classes, a GAN, and a file of eight digits."""
    home = tmp_path_factory.mktemp("runs")
    face_recipes.write(home)
    names = {"title": "Classes", "model": "PixelCNN\nfrom jaxgen.core.conditions import Classes"}
    made = face_recipes.PIXEL.replace("head_features=4", "head_features=4, condition=Classes(10)")
    (home / "experiments" / "classes.py").write_text(face_recipes.HEAD.format(made=made, **names))
    for name in ("tiny", "classes", "gan"):
        assert main(["train", str(home / "experiments" / f"{name}.py"), "--run", str(home / name)]) == 0
    args = ["compress", str(home / "tiny"), "test", "--num", "8", "-o", str(home / "eight.jgz")]
    assert main(args) == 0
    return home


@pytest.fixture
def said(capsys):
    """Standard output of a command that works; JSON is read."""

    def run(*args):
        capsys.readouterr()
        code = main([str(arg) for arg in args])
        actual = capsys.readouterr()
        assert code == 0, actual.err
        return json.loads(actual.out) if "--json" in args else actual.out

    return run


@pytest.fixture
def refused(capsys):
    """The one sentence of a command that fails, and leaves nothing behind."""

    def run(*args):
        before = sorted(Path().rglob("*"))
        capsys.readouterr()
        code = main([str(arg) for arg in args])
        actual = capsys.readouterr()
        assert (code, actual.out) == (2, "")
        assert actual.err.count("\n") == 1, actual.err
        assert sorted(Path().rglob("*")) == before, "something was written"
        return actual.err

    return run


def images(path):
    with np.load(path) as saved:
        return saved["image"]


def spaced(num):
    split = digits().load().test.image
    return split[np.linspace(0, len(split) - 1, num).astype(int)]


def test_a_split_comes_back_and_costs_what_evaluate_says(runs, said):
    actual = said("compress", runs / "tiny", "test", "--json")
    assert actual["output"] == str(runs / "tiny" / "test.jgz")
    assert actual["count"] == 360
    assert actual["bytes"] == (runs / "tiny" / "test.jgz").stat().st_size
    assert actual["raw_bytes"] == 360 * 64 * 5 // 8
    evaluated = said("evaluate", runs / "tiny", "--json")["bits_per_dim"]
    assert actual["model_bits_per_dim"] == pytest.approx(evaluated, rel=1e-5)
    assert evaluated < actual["stream_bits_per_dim"] < 1.01 * evaluated
    assert "360 images, as they were" in said("decompress", runs / "tiny", runs / "tiny" / "test.jgz", "-o", "a.npz")
    np.testing.assert_array_equal(images("a.npz"), digits().load().test.image)


def test_another_process_reads_it(runs):
    command = [sys.executable, "-m", "jaxgen", "decompress", str(runs / "tiny"), str(runs / "eight.jgz"), "-o", "b.npz"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_NUM_CPU_DEVICES": "8"}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(images("b.npz"), spaced(8))


def test_the_text_says_bytes_and_bits(runs, said):
    text = said("compress", runs / "tiny", "valid", "--num", 3, "-o", "valid.jgz")
    assert text.startswith("valid.jgz: 3 images in ")
    assert "by the model); raw they are 120 bytes" in text
    said("decompress", runs / "tiny", "valid.jgz")
    assert images("valid.npz").shape == (3, 8, 8, 1)


def test_pictures_go_out_and_in_again(runs, said):
    """Levels as grey values; a folder, a picture in colour that is gray, and an .npz in one file."""
    said("decompress", runs / "tiny", runs / "eight.jgz", "-o", "out")
    names = sorted(p.name for p in Path("out").iterdir())
    assert names == [f"{i}.png" for i in range(8)]
    np.testing.assert_array_equal(np.asarray(Image.open("out/3.png")), SHOWN[spaced(8)[3, ..., 0]])
    Image.open("out/2.png").convert("RGB").save("two.webp", lossless=True)
    np.savez("more.npz", image=spaced(5))
    actual = said("compress", runs / "tiny", "out", "two.webp", "more.npz", "--batch", 4, "-o", "all.jgz", "--json")
    assert actual["count"] == 14
    said("decompress", runs / "tiny", "all.jgz", "-o", "all.npz")
    np.testing.assert_array_equal(images("all.npz"), np.concatenate([spaced(8), spaced(8)[2:3], spaced(5)]))
    said("compress", runs / "tiny", "more.npz", "--num", 2, "-o", "two.jgz")
    said("decompress", runs / "tiny", "two.jgz")
    np.testing.assert_array_equal(images("two.npz"), spaced(5)[[0, 4]])


def test_labels_are_kept_with_their_images(runs, said, refused):
    run, split = runs / "classes", digits().load().test
    assert said("compress", run, "--num", 6, "-o", "six.jgz", "--json")["label_bytes"] == 6
    assert said("decompress", run, "six.jgz", "--json")["labels"]
    with np.load("six.npz") as saved:
        np.testing.assert_array_equal(saved["label"], split.label[np.linspace(0, 359, 6).astype(int)])
    args = ("-o", "again.jgz", "--json")
    again = said("compress", run, "six.npz", *args)
    assert again["stream_bytes"] == said("compress", run, "--num", 6, *args)["stream_bytes"]
    np.savez("bare.npz", image=images("six.npz"))
    assert "give --label" in refused("compress", run, "bare.npz", *args)
    assert "some of these images have labels" in refused("compress", run, "bare.npz", "six.npz", *args)
    np.savez("short.npz", image=images("six.npz"), label=split.label[:5])
    assert "short.npz: PixelCNN wants a label for each of 6 images" in refused("compress", run, "short.npz", *args)
    assert said("compress", run, "bare.npz", "--label", 3, *args)["label_bytes"] == 6


def test_what_lies_there_is_not_overwritten(runs, said, refused):
    """The images that a file was made of, above all; and the file of other images of the same stem."""
    np.savez("mine.npz", image=spaced(3), name="mine")
    said("compress", runs / "tiny", "mine.npz", "-o", "mine.jgz")
    mine = Path("mine.npz").read_bytes()
    assert "mine.npz: this file is there already; give another name with -o" in refused(
        "decompress", runs / "tiny", "mine.jgz"
    )
    assert Path("mine.npz").read_bytes() == mine
    Path("x").mkdir()
    Image.fromarray(SHOWN[spaced(1)[0, ..., 0]]).save("x/first.png")
    actual = said("compress", runs / "tiny", "x/first.png", "--json")
    np.savez("first.npz", image=spaced(2))
    assert "first.jgz is there already, and may hold other images: name this file with -o" in refused(
        "compress", runs / "tiny", "first.npz"
    )
    assert Path(actual["output"]).stat().st_size == actual["bytes"]
    for _ in range(2):  # a name that was asked for is written anew, like that of any other command
        said("compress", runs / "tiny", "first.npz", "-o", "first.jgz")


def test_a_killed_run_leaves_no_pictures_to_the_next(runs, said):
    """Nothing but the images of the file is in the folder, whatever lies beside it."""
    for leftover in ("out.part", f".out.{os.getpid()}.part"):
        Path(leftover).mkdir()
        Path(leftover, "99.png").touch()
    said("decompress", runs / "tiny", runs / "eight.jgz", "-o", "out")
    assert sorted(p.name for p in Path("out").iterdir()) == [f"{i}.png" for i in range(8)]


def test_pictures_that_would_not_come_back_are_refused(runs, refused):
    gray = SHOWN[spaced(1)[0, ..., 0]]
    colour = np.stack([gray, gray, 255 - gray], -1)
    still = Image.fromarray(gray)
    still.save("moving.webp", save_all=True, append_images=[still.rotate(90)], lossless=True)
    assert "moving.webp would not" in refused("compress", runs / "tiny", "moving.webp", "-o", "a.jgz")
    for name, picture in {
        "between.png": Image.fromarray(gray // 2 + 3),  # values between the model's levels
        "colour.png": Image.fromarray(colour),
        "clear.png": Image.fromarray(np.dstack([gray, gray, gray, gray])),
    }.items():
        picture.save(name)
        assert f"{name} would not come back as it is" in refused("compress", runs / "tiny", name, "-o", "a.jgz")


def test_the_checkpoint_that_made_a_file_reads_it(runs, said, refused):
    """By itself; and another step is refused, with the one that is wanted."""
    made = said("compress", runs / "tiny", "test", "--num", 4, "--step", 2, "-o", "two.jgz", "--json")
    assert made["step"] == 2
    assert said("decompress", runs / "tiny", "two.jgz", "--json")["step"] == 2
    error = refused("decompress", runs / "tiny", "two.jgz", "--step", 4, "-o", "no.npz")
    assert "another PixelCNN, or another checkpoint of it" in error
    assert "run tiny, step 2" in error
    header, payload = container.unpack(Path("two.jgz").read_bytes(), "two.jgz")
    Path("far.jgz").write_bytes(container.pack(header | {"about": {"run": "far", "step": 70}}, payload))
    error = refused("decompress", runs / "tiny", "far.jgz")
    assert "far.jgz was made by a PixelCNN, step 70 of the run far" in error
    assert "has no checkpoint of that step: give the run that made it" in error


def test_what_cannot_be_compressed_is_one_sentence(runs, refused):
    run = runs / "tiny"
    assert "DCGAN cannot compress images: a GAN defines a sampler" in refused("compress", runs / "gan")
    assert "there is no run" in refused("compress", "nowhere")
    assert "--batch must be at least 1" in refused("compress", run, "--batch", 0)
    assert "--num must be at least 1" in refused("compress", run, "--num", 0)
    assert "ends in .jgz" in refused("compress", run, "-o", "a.zip")
    assert "unconditional" in refused("compress", run, "--label", 3, "-o", "a.jgz")
    np.savez("big.npz", image=np.zeros((2, 9, 8, 1), np.uint8))
    assert "9×8×1" in refused("compress", run, "big.npz", "-o", "a.jgz")
    np.savez("high.npz", image=np.full((2, 8, 8, 1), 17, np.uint8))
    assert "18" in refused("compress", run, "high.npz", "-o", "a.jgz")
    np.savez("floats.npz", image=np.zeros((2, 8, 8, 1), np.float32))
    assert "float32" in refused("compress", run, "floats.npz", "-o", "a.jgz")


def test_what_cannot_be_decompressed_is_one_sentence(runs, refused):
    run, good = runs / "tiny", (runs / "eight.jgz").read_bytes()
    assert "there is no file no.jgz" in refused("decompress", run, "no.jgz")
    for name, data in {"cut": good[:-5], "flipped": good[:-1] + bytes([good[-1] ^ 1]), "other": b"GIF89a" * 20}.items():
        Path(f"{name}.jgz").write_bytes(data)
        error = refused("decompress", run, f"{name}.jgz")
        assert f"{name}.jgz is " in error
        assert ("no file of" if name == "other" else "damaged or cut short") in error
    Path("good.jgz").write_bytes(good)
    Path("full").mkdir()
    Path("full/file").touch()
    assert "something lies there already" in refused("decompress", run, "good.jgz", "-o", "full")
    assert "its folder is not there" in refused("decompress", run, "good.jgz", "-o", "no/where.npz")
    assert "DCGAN cannot compress" in refused("decompress", runs / "gan", "good.jgz")
