"""Sampling, completing and exploring a run from the command line: files against numbers, bad input in one sentence."""

import dataclasses
import io
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from helpers import recipes as face_recipes
from helpers.cli import answered, refused, said, saved
from PIL import Image

import jaxgen
from jaxgen.cli import progress
from jaxgen.cli.inputs import mask, named_images
from jaxgen.core.errors import UsageError
from jaxgen.core.images import bits_per_dim
from jaxgen.data.arrays import digits
from jaxgen.data.dataset import digest
from jaxgen.explore.likelihood import drawing_rank
from jaxgen.pictures.animation import write_gif
from jaxgen.pictures.grid import HOLE, displayed
from jaxgen.pictures.heat import field_picture, heat
from jaxgen.pictures.page import LINE, OUTSIDE, scale_for

CLASSES = (
    "PixelCNN(shape=(size, size, 1), levels=levels, layers=1, features=width, head_features=4, condition=Classes(10))"
)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Run folders of a pixel model, a class-conditional one and a GAN, with random weights: nothing is trained."""
    home = tmp_path_factory.mktemp("explored")
    face_recipes.write(home)
    model = "PixelCNN\nfrom jaxgen.core.conditions import Classes"
    text = face_recipes.HEAD.format(title="Classes", model=model, made=CLASSES)
    (home / "experiments" / "classes.py").write_text(text)
    return face_recipes.untrained(home, "tiny", "classes", "gan")


def draw_pictures(folder, count=4, size=8):
    """A folder of gray pictures, one of them in a folder of its own; gives their names and 17 levels."""
    image = np.random.default_rng(0).integers(0, 256, (count, size, size), np.uint8)
    (Path(folder) / "inner").mkdir(parents=True)
    names = [*(f"{i}.png" for i in range(count - 1)), "inner/last.png"]
    for name, picture in zip(names, image):
        Image.fromarray(picture).save(Path(folder) / name)
    return names, (image.astype(int) * 17 // 256).astype(np.uint8)[..., None]


# --- sample --------------------------------------------------------------------------------------------------------


def test_samples_are_the_runs_whatever_the_chunk(runs, capsys):
    opened = jaxgen.load(runs / "classes")
    draw = ("sample", runs / "classes", "--num", 11, "--seed", 3)
    assert answered(capsys, *draw, "--chunk", 4, "-o", "a.npz")["num"] == 11
    np.testing.assert_array_equal(saved("a.npz"), opened.sample(11, 3))
    answered(capsys, *draw, "--label", 7, "--temperature", 0.5, "-o", "b.npz")
    np.testing.assert_array_equal(saved("b.npz"), opened.sample(11, 3, np.full(11, 7, np.int32), 0.5))
    assert (saved("a.npz") != saved("b.npz")).any()
    assert said(capsys, *draw, "--label", 7, "--temperature", 0.5)[1].endswith(
        "sample-seed3-label7-temperature0.5.png\n"
    )


def test_growing_images_end_as_the_grid_and_grow_in_the_models_order(runs, capsys):
    draw = ("sample", runs / "tiny", "--num", 4)
    actual = answered(capsys, *draw, "-o", "a.npz", "--frames", "frames")
    assert (actual["output"], actual["frames"]) == ("a.npz", "frames")
    assert "65 frames" in said(capsys, *draw, "-o", "a.png", "--frames", "more")[1]
    frames = [np.asarray(Image.open(path)) for path in sorted(Path("frames").iterdir())]
    assert len(frames) == 65
    np.testing.assert_array_equal(frames[-1], np.asarray(Image.open("a.png")))
    rank, scale = drawing_rank(jaxgen.load(runs / "tiny").model), frames[0].shape[1] // 19
    shown = displayed(saved("a.npz"), 17)[0, ..., 0]
    for count, frame in enumerate(frames):
        first = frame[::scale, ::scale][1:9, 1:9]
        np.testing.assert_array_equal(first, np.where(rank < count, shown, HOLE))
    answered(capsys, *draw, "-o", "a.gif")
    with Image.open("a.gif") as gif:
        assert gif.n_frames > 50  # equal frames, of pixels as gray as what is not drawn, are one
        for number, frame in ((0, frames[0]), (gif.n_frames - 1, frames[-1])):
            gif.seek(number)
            np.testing.assert_array_equal(np.asarray(gif.convert("L")), frame)
    assert not list(Path().glob("*.part"))


def test_a_colour_gif_keeps_its_colours(tmp_path):
    frames = np.zeros((3, 4, 5, 3), np.uint8)
    frames[1:, :2] = (255, 0, 0)
    frames[2, 2:3] = (0, 128, 255)  # as in a growing grid, the last frame has the colours of all
    write_gif(list(frames), tmp_path / "a.gif")
    with Image.open(tmp_path / "a.gif") as gif:
        for number, frame in enumerate(frames):
            gif.seek(number)
            np.testing.assert_array_equal(np.asarray(gif.convert("RGB")), frame)


def test_progress_is_a_bar_on_a_terminal_and_lines_elsewhere(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for stream in (Terminal(), io.StringIO()):
        monkeypatch.setattr("jaxgen.runs.progress.PLAIN_EVERY", 0.0)
        with progress.counted(20, "images", stream) as told:
            told(10)
            told(20)
        if stream.isatty():
            assert "20/20" in stream.getvalue()
        else:
            assert stream.getvalue() == "images 10/20\n"


# --- complete ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("keep", "exact"), [("top-half", True), ("left-half", False)])
def test_completions_say_whether_they_are_exact(runs, capsys, keep, exact):
    do = ("complete", runs / "classes", "--keep", keep, "--num", 2, "--completions", 3, "-o", "c.png")
    actual = answered(capsys, *do)
    assert (actual["exact"], actual["num"], actual["given"]) == (exact, 2, 0.5)
    text = said(capsys, *do)[1]
    assert ("\nexact: " in text, "\napproximate: " in text) == (exact, not exact)


def test_completions_use_the_images_own_labels(runs, capsys):
    opened = jaxgen.load(runs / "classes")
    actual = named_images(opened, "test", 3)
    np.testing.assert_array_equal(actual.condition, opened.dataset.test.label[[0, 179, 359]])
    np.testing.assert_array_equal(actual.image, opened.dataset.test.image[[0, 179, 359]])
    given = mask("top-half", (8, 8, 1))
    drawn = opened.complete(actual.image, given, 0, actual.condition)
    answered(capsys, "complete", runs / "classes", "--num", 3, "--completions", 1, "-o", "c.png")
    page = np.asarray(Image.open("c.png"))
    scale = page.shape[1] // 28
    for i in range(3):
        cell = page[::scale, ::scale][1 + 9 * i : 9 + 9 * i, 19:27]
        np.testing.assert_array_equal(cell, displayed(drawn, 17)[i, ..., 0])


# --- surprise, rank, field -----------------------------------------------------------------------------------------


def test_surprise_gives_the_bits_of_each_image_and_their_maps(runs, capsys):
    opened = jaxgen.load(runs / "tiny")
    actual = answered(capsys, "surprise", runs / "tiny", "--num", 5, "-o", "s.png")
    shown = named_images(opened, "test", 5)
    assert actual["names"] == shown.names == [f"test {i}" for i in (0, 89, 179, 269, 359)]
    np.testing.assert_allclose(actual["bits"], -opened.log_prob(shown.image) / np.log(2), rtol=1e-5)
    np.testing.assert_allclose(actual["bits_per_dim"], np.array(actual["bits"]) / 64)
    page = np.asarray(Image.open("s.png"))
    scale = scale_for((8, 8, 1), 96)
    corner = page[16 : 16 + 8 * scale : scale, 16 : 16 + 16 * scale + 2]
    np.testing.assert_array_equal(corner[:, : 8 * scale : scale, 0], displayed(shown.image, 17)[0, ..., 0])
    bits = opened.surprise(shown.image)
    np.testing.assert_array_equal(corner[:, 8 * scale + 2 :: scale], heat(bits, float(np.quantile(bits, 0.995)))[0])
    assert "bits/dim on average" in said(capsys, "surprise", runs / "tiny", "--num", 2)[1]
    assert (runs / "tiny" / "surprise-test.png").is_file()


def test_a_folder_is_ranked_by_the_models_own_scores(runs, capsys):
    names, image = draw_pictures("faces")
    opened = jaxgen.load(runs / "tiny")
    score = dict(zip(names, opened.log_prob(image)))
    actual = answered(capsys, "rank", runs / "tiny", "faces", "-o", "r.png")
    assert [row["image"] for row in actual["images"]] == sorted(names, key=lambda name: -score[name])
    assert [row["place"] for row in actual["images"]] == [1, 2, 3, 4]
    for row in actual["images"]:
        assert -row["nats"] == pytest.approx(score[row["image"]], rel=1e-5)
        assert row["bits_per_dim"] == pytest.approx(bits_per_dim(row["nats"], (8, 8, 1)))
    assert actual["bound"] is False
    assert Path("r.png").is_file()


def test_the_images_that_a_run_drew_are_all_looked_at(runs, capsys):
    """At its own levels, as `sample` wrote them: one as well as many."""
    opened, (tiny, file) = jaxgen.load(runs / "tiny"), (runs / "tiny", "drawn.npz")
    answered(capsys, "sample", tiny, "--num", 23, "-o", file)
    nats = -opened.log_prob(saved(file))
    actual = answered(capsys, "rank", tiny, file, "-o", "r.png")["images"]
    assert [row["image"] for row in actual] == [f"drawn {i}" for i in np.argsort(nats, kind="stable")]
    np.testing.assert_allclose([row["nats"] for row in actual], np.sort(nats), rtol=1e-5)
    some = answered(capsys, "surprise", tiny, "--images", file, "--num", 3, "-o", "s.png")
    assert some["names"] == ["drawn 0", "drawn 11", "drawn 22"]
    np.savez("one.npz", image=saved(file)[:1])
    for command in ("field", "complete"):
        assert answered(capsys, command, tiny, "--images", "one.npz", "-o", "o.png")["num"] == 1


def test_images_of_any_kind_of_whole_numbers_are_looked_at_by_any_letter_case(runs):
    image = np.random.default_rng(0).integers(0, 17, (3, 8, 8, 1))
    for kind in (np.int64, np.uint16):
        np.savez("a.npz", image=image.astype(kind), captions=np.array(["a", "b", "c"]))
        Path("a.npz").rename("A.NPZ")
        actual = named_images(jaxgen.load(runs / "tiny"), "A.NPZ")
        assert (actual.image.dtype, actual.names) == (np.uint8, ["A 0", "A 1", "A 2"])
        np.testing.assert_array_equal(actual.image, image)


def test_data_that_were_replaced_are_told(runs, capsys, monkeypatch):
    """By another count or other values than those in the run's record; the same data, and no record, say nothing."""
    data = digits().load()
    counts, checksum = {"train": 1294, "valid": 143, "test": 360}, digest(data)
    opened = jaxgen.load(runs / "tiny")
    for about, message in (
        ({}, None),
        ({"examples": counts, "digest": checksum}, None),
        ({"examples": counts | {"test": 3}, "digest": checksum}, "count of examples was .*3}, and is .*360}"),
        ({"examples": counts, "digest": "0"}, f"checksum was 0, and is {checksum}; figures of these are not the run's"),
    ):
        record = dataclasses.replace(opened.record, about=about)
        again = dataclasses.replace(opened, record=record)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            assert len(again.dataset.test) == 360
        assert len(told) == (message is not None)
        assert message is None or re.search(message, str(told[0].message))


def test_labels_beside_saved_images_are_theirs(runs, capsys):
    opened = jaxgen.load(runs / "classes")
    image, label = opened.dataset.test.image[:4], opened.dataset.test.label[:4]
    np.savez("labelled.npz", image=image, label=label)
    actual = answered(capsys, "rank", runs / "classes", "labelled.npz", "-o", "r.png")["images"]
    wanted = -opened.log_prob(image, condition=label)
    np.testing.assert_allclose([row["nats"] for row in actual], np.sort(wanted), rtol=1e-5)


def test_a_data_set_with_captions_is_looked_at_by_its_labels(runs):
    opened = jaxgen.load(runs / "classes")
    data = opened.dataset.test
    arrays = {"train": data.image, "test": data.image[:4], "test_captions": np.array(["a", "b", "c", "d"])}
    np.savez("a.npz", **arrays, train_labels=data.label, test_labels=data.label[:4])
    actual = named_images(opened, "a.npz,levels=17")
    np.testing.assert_array_equal(actual.condition, data.label[:4])
    np.savez("bare.npz", **arrays)
    with pytest.raises(UsageError, match=r"bare\.npz,levels=17 has no labels"):
        named_images(opened, "bare.npz,levels=17")


def test_a_split_is_ranked_whole_and_both_ends_are_shown(runs, capsys):
    opened = jaxgen.load(runs / "classes")
    data = opened.dataset.test
    ranked = np.argsort(-opened.log_prob(data.image, condition=data.label), kind="stable")
    actual = answered(capsys, "rank", runs / "classes")
    assert [row["image"] for row in actual["images"]] == [f"test {i}" for i in ranked]
    lines = said(capsys, "rank", runs / "classes", "--ends", 2)[1].splitlines()
    rows = [line.split() for line in lines[1:-1]]
    assert [row[:3] for row in (rows[0], rows[1], rows[3], rows[4])] == [
        [str(place), "test", str(ranked[place - 1])] for place in (1, 2, 359, 360)
    ]
    assert rows[2] == ["…", "356", "more"]
    assert lines[-1] == str(runs / "classes" / "rank-test.png")
    all_shown = said(capsys, "rank", runs / "classes", "--num", 3)[1].splitlines()
    assert [line.split()[0] for line in all_shown[1:-1]] == ["1", "2", "3"]


def test_the_field_is_the_runs_and_its_picture_shows_where_it_is(runs, capsys):
    opened = jaxgen.load(runs / "tiny")
    shown = named_images(opened, "test", 6)
    actual = answered(capsys, "field", runs / "tiny", "--num", 6, "-o", "f.png")
    expected = opened.field(shown.image)
    np.testing.assert_allclose(actual["field"], expected, rtol=1e-5)
    context = opened.model.context()[4, 4, 0, ..., 0]
    assert (actual["at"], actual["context"]) == ([4, 4], context.sum())
    assert 1 <= actual["pixels"]["half"] <= actual["pixels"]["most"] <= context.sum()
    picture = field_picture(expected, context, (4, 4), 9, 3.0)
    centres = picture[4::9, 4::9]
    assert (centres[~context] == OUTSIDE).all()
    high = np.unravel_index(expected.argmax(), expected.shape)
    np.testing.assert_array_equal(centres[high], heat(np.ones(1), 1.0)[0])
    np.testing.assert_array_equal(picture[4 * 9, 4 * 9], LINE)
    assert f"of the {context.sum()} pixels" in said(capsys, "field", runs / "tiny", "--num", 2)[1]


def test_heat_rises_and_is_clipped():
    colours = heat(np.array([-1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 9.0]), high=4.0)
    light = colours.astype(int).sum(axis=1)
    assert light[0] == light[1] < light[2] < light[3] < light[4] < light[5] == light[6]


# --- bad input -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        (["complete", "tiny", "--keep", "small.png"], ["mask small.png is 9×9", "8×8"]),
        (["complete", "tiny", "--keep", "white.png"], ["--keep white.png gives every pixel"]),
        (["complete", "tiny", "--keep", "black.png"], ["--keep black.png gives no pixel", "jaxgen sample"]),
        (["complete", "tiny", "--images", "high.npz,levels=17"], ["wanted values 0 to 16", "found 20"]),
        (["complete", "tiny", "--images", "high.npz,levels=32"], ["of 17 levels", "8×8×1 of 32"]),
        (["complete", "tiny", "--images", "small.png"], ["small.png has 9×9×1"]),
        (["complete", "tiny", "--label", "3"], ["--label 3: PixelCNN is unconditional"]),
        (["complete", "classes", "--label", "10"], ["--label 10: PixelCNN knows the classes 0 to 9: got 10"]),
        (["complete", "classes", "--images", "white.png"], ["white.png has no labels", "give one with --label"]),
        (["complete", "tiny", "--temperature", "-1"], ["temperature must be a number above 0", "got -1"]),
        (["complete", "tiny", "--completions", "0"], ["--completions must be at least 1"]),
        (["sample", "tiny", "--label", "3"], ["--label 3: PixelCNN is unconditional"]),
        (["sample", "gan", "--label", "3"], ["--label 3: DCGAN is unconditional"]),
        (["sample", "classes", "--label", "12"], ["knows the classes 0 to 9: got 12"]),
        (["sample", "classes", "--condition", "a.npz"], ["PixelCNN is conditional on classes: give a --label"]),
        (["sample", "classes", "--label", "-1"], ["knows the classes 0 to 9: got -1"]),
        (["sample", "classes", "--label", "3000000000"], ["--label 3000000000: class out of range"]),
        (["complete", "classes", "--label", f"-{10**30}"], ["class out of range"]),
        (["sample", "classes", "--label", "seven"], ["--label", "got 'seven'"]),
        (
            ["sample", "gan", "--temperature", "0.5"],
            ["DCGAN cannot draw at a temperature", "Models that can", "PixelCNN"],
        ),
        (["sample", "tiny", "--temperature", "0"], ["temperature must be a number above 0", "got 0"]),
        (["sample", "tiny", "--temperature", "nan"], ["temperature must be a number above 0", "got nan"]),
        (["sample", "tiny", "--chunk", "0"], ["--chunk must be at least 1"]),
        (["sample", "tiny", "--frames", "full"], ["--frames full: something lies there already"]),
        (["sample", "tiny", "--frames", "no/where"], ["--frames no/where: the folder above it is not there"]),
        (["sample", "gan", "--frames", "new"], ["DCGAN cannot show images growing"]),
        (["sample", "gan", "-o", "new.gif"], ["DCGAN cannot show images growing"]),
        (["surprise", "gan"], ["DCGAN cannot say how surprising each pixel is", "Models that can"]),
        (["surprise", "tiny", "--images", "full"], ["full/thesis", "8×8×1"]),
        (["surprise", "tiny", "--num", "0"], ["--num must be at least 1"]),
        (["surprise", "tiny", "-o", "x.npz"], ["ends in .png"]),
        (["rank", "gan"], ["DCGAN cannot rank images by their likelihood", "a GAN"]),
        (["rank", "tiny", "over.npz"], ["of 17 levels", "8×8×1 of 21"]),
        (["rank", "classes", "bare.npz"], ["bare.npz has no labels", "give one with --label"]),
        (["rank", "classes", "short.npz"], ["a label for each of 4 images"]),
        (["rank", "tiny", "nowhere"], ["unknown data 'nowhere'"]),
        (["rank", "tiny", "full"], ["full/thesis.png has 9×9×1"]),
        (["rank", "tiny", "--ends", "0"], ["--ends must be at least 1"]),
        (["rank", "classes", "--label", "10"], ["knows the classes 0 to 9"]),
        (["field", "gan"], ["DCGAN cannot show its receptive field"]),
        (["field", "tiny", "--images", "valdi"], ["unknown data 'valdi'"]),
        (["field"], ["wants RUN;"]),
        (["surprise", "tiny", "--images", "deep.png"], ["deep.png: wanted 8 bits per channel", "found picture mode I"]),
        (["rank", "tiny", "deep.png"], ["deep.png: wanted 8 bits per channel", "scale its values to 0 … 255"]),
        (["complete", "tiny", "--images", "DEEP.TIF"], ["DEEP.TIF: wanted 8 bits per channel", "picture mode F"]),
        (["complete", "tiny", "--keep", "deep.png"], ["deep.png: wanted 8 bits per channel"]),
        (["surprise", "tiny", "--images", "float.npz"], ["float.npz: its images must be uint8, found float64"]),
        (["surprise", "tiny", "--images", "none.npz"], ["got uint8[0, 8, 8, 1]"]),
    ],
    ids=" ".join,
)
def test_bad_input_gets_one_sentence_and_writes_nothing(args, parts, runs, capsys):
    for name, value, size in (("white", 255, 8), ("black", 0, 8), ("small", 200, 9)):
        Image.fromarray(np.full((size, size), value, np.uint8)).save(f"{name}.png")
    Path("full").mkdir()
    Path("full/thesis.png").write_bytes(Path("small.png").read_bytes())
    np.savez("high.npz", train=np.full((20, 8, 8, 1), 20, np.uint8), test=np.full((4, 8, 8, 1), 20, np.uint8))
    np.savez("over.npz", image=np.full((4, 8, 8, 1), 20, np.uint8))
    np.savez("bare.npz", image=np.zeros((4, 8, 8, 1), np.uint8))
    np.savez("short.npz", image=np.zeros((4, 8, 8, 1), np.uint8), label=np.zeros(3, np.int32))
    Image.fromarray(np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)).save("deep.png")
    Image.fromarray(np.ones((8, 8), np.float32)).save("DEEP.TIF")
    np.savez("float.npz", image=np.zeros((4, 8, 8, 1)))
    np.savez("none.npz", image=np.zeros((0, 8, 8, 1), np.uint8))
    inside = sorted(runs.rglob("*"))
    message = refused(capsys, args[0], *(str(runs / arg) if i == 0 else arg for i, arg in enumerate(args[1:])))
    assert sorted(runs.rglob("*")) == inside
    for part in parts:
        assert part in message
