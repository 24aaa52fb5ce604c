"""Commands on runs of models of vectors and of maps: each image has its own, or one sentence says why not."""

from pathlib import Path

import numpy as np
import pytest
from helpers.cli import answered, refused, saved
from helpers.conditional import MODELS, SHAPE, SIZES, write
from PIL import Image

import jaxgen
from jaxgen.cli.inputs import mask, named_images
from jaxgen.cli.main import main
from jaxgen.pictures.grid import displayed

RECIPE = '''"""{model} on pairs. Unpublished. Ours: none."""
import optax
from jaxgen import Recipe
from jaxgen.core.conditions import Map, Vector
from jaxgen.data import source
from jaxgen.models import {model}


def recipe(data: str = "data.npz", size: int = {size}) -> Recipe:
    model = {model}(shape={shape}, levels=2, layers=1, features=6, head_features=6, condition={kind}(size))
    return Recipe(data=source(data), model=model, optimizer=optax.adam(0.05), batch=16, steps=20, samples=8)
'''


def write_recipe(kind):
    model = MODELS[kind]
    names = {"model": type(model).__name__, "kind": type(model.condition).__name__}
    Path(f"{kind}.py").write_text(RECIPE.format(size=3 if kind == "vector" else 1, shape=SHAPE, **names))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A trained run of each kind, with its data; and data without conditions."""
    folder = tmp_path_factory.mktemp("conditions")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for kind in MODELS:
            write_recipe(kind)
            write(f"{kind}.npz", kind)
            write(f"{kind}-bare.npz", kind, conditions=False)
            data = ["--data", str(folder / f"{kind}.npz")]
            assert main(["train", f"{kind}.py", *data, "--run", kind]) == 0
    return folder


@pytest.fixture(params=MODELS)
def kind(request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return request.param


def test_samples_are_drawn_by_the_validation_images_or_by_a_file(home, kind, capsys):
    run = jaxgen.load(home / kind)
    answered(capsys, "sample", home / kind, "--num", 24, "-o", "a.npz")
    condition = run.dataset.valid.condition[np.arange(24) % SIZES["valid"]]
    np.testing.assert_array_equal(saved("a.npz"), run.sample(24, 0, condition))
    other = -condition[:7].astype(np.float64)
    np.savez("other.npz", condition=other)
    answered(capsys, "sample", home / kind, "--num", 9, "--condition", "other.npz", "-o", "b.npz")
    again = other[np.arange(9) % 7].astype(np.float32)
    np.testing.assert_array_equal(saved("b.npz"), run.sample(9, 0, again))
    assert (saved("b.npz") != saved("a.npz")[:9]).any()
    actual = answered(capsys, "sample", home / kind, "--num", 2, "--condition", "other.npz")
    assert Path(actual["output"]).name == "sample-seed0-other.png"


def test_a_model_is_inspected(home, kind, capsys):
    for of in ((home / kind,), (home / f"{kind}.py", "--data", home / f"{kind}.npz")):
        actual = answered(capsys, "inspect", *of, "--table-depth", 3)
        assert actual["step"]["flops"] > 0
        assert any("condition" in name for name in actual["modules"])


def test_images_have_their_own_conditions(home, kind, capsys):
    """In every command that looks at them."""
    run = jaxgen.load(home / kind)
    test = run.dataset.test
    nats = -run.log_prob(test.image, 0, test.condition)
    assert answered(capsys, "evaluate", home / kind)["nats"] == pytest.approx(nats.mean(), rel=1e-5)
    ranked = answered(capsys, "rank", home / kind, "-o", "r.png")["images"]
    assert [row["nats"] for row in ranked] == pytest.approx(sorted(nats), rel=1e-5)
    surprise = answered(capsys, "surprise", home / kind, "--num", 16, "-o", "s.png")["bits"]
    assert surprise == pytest.approx(nats / np.log(2), rel=1e-4)
    field = answered(capsys, "field", home / kind, "--num", 16, "-o", "f.png")["field"]
    np.testing.assert_allclose(field, run.field(test.image, test.condition), rtol=1e-5)
    few, given = named_images(run, "valid", 3), mask("top-half", SHAPE)
    np.testing.assert_array_equal(few.condition, run.dataset.valid.condition[[0, 9, 19]])
    do = ("complete", home / kind, "--images", "valid", "--num", 3, "--completions", 1, "-o", "c.png")
    assert answered(capsys, *do)["num"] == 3
    drawn = run.complete(few.image, given, 0, few.condition)
    assert (drawn != run.complete(few.image, given, 0, -9 * few.condition)).any()
    page = np.asarray(Image.open("c.png"))
    scale = page.shape[1] // 16  # three images of 4 columns and the margins between
    cells = [page[::scale, ::scale][1 + 4 * i : 4 + 4 * i, 11:15] for i in range(3)]
    np.testing.assert_array_equal(cells, displayed(drawn, 2)[..., 0])


def test_images_are_packed_with_their_conditions(home, kind, capsys):
    """From a split, and again from the .npz that they were given back as."""
    test = jaxgen.load(home / kind).dataset.test
    packed = answered(capsys, "compress", home / kind, "-o", "a.jgz")
    evaluated = answered(capsys, "evaluate", home / kind)["bits_per_dim"]
    assert packed["model_bits_per_dim"] == pytest.approx(evaluated, rel=1e-5)
    assert answered(capsys, "decompress", home / kind, "a.jgz")["conditions"]
    with np.load("a.npz") as back:
        np.testing.assert_array_equal(back["image"], test.image)
        np.testing.assert_array_equal(back["condition"], test.condition)
    assert answered(capsys, "compress", home / kind, "a.npz", "-o", "b.jgz") == packed | {"output": "b.jgz"}
    np.savez("short.npz", image=test.image, condition=test.condition[:5])
    assert "short.npz: " in refused(capsys, "compress", home / kind, "short.npz", "-o", "c.jgz")
    np.savez("bare.npz", image=test.image)
    assert "give them as condition" in refused(capsys, "compress", home / kind, "bare.npz", "-o", "c.jgz")


def test_what_has_no_condition_is_one_sentence(home, kind, capsys):
    name, wanted = type(MODELS[kind]).__name__, {"vector": "vectors", "map": "maps"}[kind]
    Image.fromarray(np.zeros(SHAPE[:2], np.uint8)).save("dark.png")
    missing = f"jaxgen: {name} is conditional on {wanted}: give them as condition\n"
    for command in ("complete", "surprise", "field"):
        assert refused(capsys, command, home / kind, "--images", "dark.png") == missing
    assert refused(capsys, "rank", home / kind, "dark.png") == missing
    bare = home / f"{kind}-bare.npz"
    lacking = f'{name} is conditional, but its data have no "condition"'
    assert lacking in refused(capsys, "evaluate", home / kind, "--data", bare)
    assert lacking in refused(capsys, "train", home / f"{kind}.py", "--data", bare, "--run", "none")
    wide = refused(capsys, "train", home / f"{kind}.py", "--data", home / f"{kind}.npz", "--size", 5, "--run", "none")
    assert f"{name} wants a condition of shape (" in wide


def test_a_file_of_conditions_that_does_not_fit_is_one_sentence(home, kind, capsys):
    np.savez("none.npz", image=np.zeros(3))
    np.savez("wide.npz", condition=np.zeros((2, 7)))
    np.savez("empty.npz", condition=np.zeros((0, 3)))
    np.savez("words.npz", condition=np.array(["a"]))
    np.savez("endless.npz", condition=np.full((1, 3), np.inf))
    for file, message in {
        "none.npz": "wanted an array named condition with a row or more, found image [3]",
        "wide.npz": "wants a condition of shape (4, ",
        "empty.npz": "with a row or more, found condition [0, 3]",
        "words.npz": "wanted vectors [n, size] or maps",
        "endless.npz": "must be finite",
        "missing.npz": "no such file",
    }.items():
        error = refused(capsys, "sample", home / kind, "--num", 4, "--condition", file)
        assert message in error
        assert file in error
    assert "--label 1: " in refused(capsys, "sample", home / kind, "--label", 1)
