"""`jaxgen translate`: figures and pictures against the run's own numbers, bad input in one sentence."""

from pathlib import Path

import jax
import numpy as np
import pytest
from helpers import recipes
from helpers.cli import answered, refused
from PIL import Image

import jaxgen
from jaxgen.cli.commands.translate import check_translates
from jaxgen.core.conditions import Classes
from jaxgen.core.errors import UsageError
from jaxgen.metrics.segmentation import agreement
from jaxgen.models import GAN, VAE
from jaxgen.pictures.grid import displayed, save_png
from jaxgen.pictures.page import enlarged
from jaxgen.pictures.strips import strips

MADE = (
    "Pix2Pix(shape=(size, size, 1), levels=levels, condition=__import__('jaxgen').Map(1), features=2, depth=2, "
    "patch=16, critic_features=2)"
)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with random weights, of edges of digits."""
    home = tmp_path_factory.mktemp("translate")
    recipes.write(home)
    text = recipes.HEAD.format(title="Tiny Pix2Pix", model="Pix2Pix", made=MADE)
    text = text.replace("else source(data)", "else with_inputs(source(data), 'edges')")
    text = text.replace(
        "import shared_by_tests", "from jaxgen.data.made_pairs import with_inputs\nimport shared_by_tests"
    )
    (home / "experiments" / "edges.py").write_text(text)
    return jaxgen.load(recipes.untrained(home, "edges") / "edges")


@pytest.fixture(scope="module")
def pairs(run):
    """Three test images and their edges."""
    image = run.dataset.test.image[[0, 179, 359]]
    seen = jax.jit(run.dataset.transform, static_argnums=2)({"image": image}, jax.random.key(0), False)
    return image, np.asarray(seen["condition"])


def saved(folder, images):
    for i, image in enumerate(images):
        save_png(image, Path(folder) / f"{i}.png")
    return folder


def test_pairs_of_a_split_are_translated_measured_and_shown(run, pairs, capsys):
    image, told = pairs
    do = ("translate", run.folder, "test", "--num", 3, "--draws", 2, "--seed", 5, "--back", run.folder)
    figures = answered(capsys, *do, "-o", "t.png")
    drawn = run.sample(6, 5, told.repeat(2, 0)).reshape(3, 2, 8, 8, 1)
    each = np.abs(drawn.astype(float) - image[:, None]).mean((1, 2, 3, 4)) / 16
    np.testing.assert_allclose(figures["each"]["l1"], each)
    assert figures["l1"] == pytest.approx(each.mean())
    rows = np.concatenate([displayed(told, 2)[:, None], displayed(drawn, 17), displayed(image, 17)[:, None]], axis=1)
    large = np.stack([[enlarged(x, 12) for x in row] for row in rows])
    names = [f"test {i}\nL1 {l1:.3f}" for i, l1 in zip((0, 179, 359), each)]
    page = strips([(large, ["input", "drawn 1", "drawn 2", "true"])], names, "Pix2Pix, step 1")
    np.testing.assert_array_equal(np.asarray(Image.open("t.png")), page)
    # Labels are recovered by the way back, as which the run itself serves: from what it drew, and from the true images.
    labels, recovered = told[..., 0].astype(int), figures["recovered"]
    for name, shown, true in (("drawn", drawn.reshape(6, 8, 8, 1), labels.repeat(2, 0)), ("true", image, labels)):
        again = displayed(run.sample(len(shown), 5, shown / np.float32(16)), 17)[..., 0]
        assert recovered[name] == agreement((again > 127).astype(int), true, 2)
    assert recovered["chance"] == pytest.approx(100 * max(labels.mean(), 1 - labels.mean()))


def test_pictures_are_inputs_or_what_inputs_are_made_of(run, pairs, capsys):
    """Three ways to the same images: with true ones of the same names, with inputs made here, and written alone."""
    image, told = pairs
    inputs, truth = saved("inputs", displayed(told, 2)), saved("truth", displayed(image, 17))
    beside = answered(capsys, "translate", run.folder, inputs, "--truth", truth, "-o", "a.png")
    made = answered(capsys, "translate", run.folder, truth, "--make", "-o", "b.png")
    assert beside["l1"] == made["l1"]
    np.testing.assert_array_equal(Image.open("a.png"), Image.open("b.png"))
    alone = answered(capsys, "translate", run.folder, inputs, "-o", "drawn")
    assert "l1" not in alone
    drawn = displayed(run.sample(3, 0, told), 17)
    for i in range(3):
        np.testing.assert_array_equal(Image.open(f"drawn/{i}.png"), drawn[i, ..., 0])


def test_what_cannot_be_translated_is_one_sentence(run, pairs, capsys):
    image, told = pairs
    inputs = saved("inputs", displayed(told, 2))
    other = saved("other", displayed(image, 17)[:2])
    saved("large", np.zeros((1, 9, 10, 1), np.uint8))

    def says(words, *args):
        assert words in refused(capsys, "translate", run.folder, *args)

    says("--make is about pictures, and test names none", "test", "--make")
    says("large/0.png is 9×10, the run's images are 8×8: add --resize", "large")
    says("--truth other: has no picture of the name of inputs/2.png", inputs, "--truth", other)
    says("--truth nowhere: wanted a folder", inputs, "--truth", "nowhere")
    says("--make says that the pictures are the true images: leave --truth out", inputs, "--make", "--truth", other)
    says("something lies there already", inputs, "-o", "other")
    says("--draws must be at least 1, got 0", "--draws", 0)
    with pytest.raises(UsageError, match=r"VAE cannot translate images: it is conditional on Classes.*jaxgen train"):
        check_translates(VAE(shape=(8, 8, 1), levels=2, condition=Classes(3)))
    with pytest.raises(UsageError, match="GAN cannot translate images: it is unconditional, and no image is told"):
        check_translates(GAN(shape=(8, 8, 1), levels=2))
