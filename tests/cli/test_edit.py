"""`jaxgen edit`: what it writes, and one sentence for what it cannot take."""

import numpy as np
import pytest
from helpers import recipes
from helpers.cli import answered, refused
from PIL import Image

NETS = {
    "vae": ("VAE", "VAE(shape=(size, size, 1), levels=levels, latent=3, hidden=(8,))"),
    "digits_cnn": ("ConvClassifier", "ConvClassifier(shape=(size, size, 1), levels=levels, conv=(4,), hidden=4)"),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Runs of a VAE and of a classifier with random weights, and layers."""
    home = tmp_path_factory.mktemp("edit")
    recipes.write(home)
    for name, (model, text) in NETS.items():
        text = recipes.HEAD.format(title=name, model=model, made=text)
        (home / "experiments" / f"{name}.py").write_text(text)
    recipes.untrained(home, *NETS)
    layer = np.zeros((8, 8, 4), np.uint8)
    layer[2, 1:7] = 255
    Image.fromarray(layer).save(home / "line.png")
    Image.fromarray(layer[..., :3]).save(home / "opaque.png")
    Image.fromarray(layer[:4]).save(home / "low.png")
    return home


def test_an_edit_is_shown_from_the_image_to_what_it_came_to(runs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    do = ("edit", runs / "vae", "--image", "test:3", "--strokes", runs / "line.png", "--starts", 4, "--steps", 5)
    figures = answered(capsys, *do, "-o", "edit.png")
    assert figures["loss_after"] < figures["loss_before"]
    assert figures["brushes"] == ["colour"]
    with Image.open(tmp_path / "edit.png") as strip:
        width, height = strip.size
    assert width > 7 * 56 > height  # image, strokes and five images of the way


@pytest.mark.parametrize(
    ("args", "part"),
    [
        ((), "`jaxgen edit` wants --strokes FILE.png, a layer with alpha"),
        (("--strokes", "opaque.png"), "opaque.png: wanted a layer with alpha"),
        (("--strokes", "low.png"), "the layer is 4×8, the model's images are 8×8"),
        (("--strokes", "none.png"), "there is no file none.png"),
        (("--strokes", "line.png", "--brush", "color"), "there is no brush 'color'. Did you mean 'colour'?"),
        (("--strokes", "line.png", "--brush", "warp", "sketch"), "one for all layers or one for each of 1, got 2"),
        (("--strokes", "line.png", "--image", "test"), "an edit is of one image, and test are 360"),
        (("--strokes", "line.png", "--steps", "1"), "--steps must be at least 2"),
        (("--strokes", "line.png", "-o", "edit.jpg"), "ends in .png or .gif"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_input_gets_one_sentence(args, part, runs, monkeypatch, capsys):
    monkeypatch.chdir(runs)
    assert part in refused(capsys, "edit", "vae", *args)


def test_a_model_without_a_prior_of_codes_is_named(runs, monkeypatch, capsys):
    monkeypatch.chdir(runs)
    assert "ConvClassifier cannot be edited by strokes" in refused(
        capsys, "edit", "digits_cnn", "--strokes", "line.png"
    )
