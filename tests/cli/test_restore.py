"""`jaxgen restore` on pictures: a run of the recipe, its figures against functions, bad input in one
sentence."""

from pathlib import Path

import numpy as np
import pytest
from helpers.cli import answered, refused, said
from PIL import Image

import jaxgen
from jaxgen.cli.commands import train
from jaxgen.cli.commands.restore import write
from jaxgen.core.errors import UsageError
from jaxgen.data.damaged import damaged, to_restore
from jaxgen.maths.resample import downsampled
from jaxgen.metrics.restoration import luminance, psnr, ssim
from jaxgen.pictures.grid import save_png

QUICK = ("--width", "tiny", "--scales", "1", "--steps", "4", "--every", "2", "-o", "out.png")
"""A net that is compiled in a moment, the one of the recipe's smoke run."""


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_png(whole(), "whole.png")


def whole(h=12, w=12, channels=3):
    """A smooth picture with noise."""
    y, x = np.mgrid[:h, :w] / max(h, w)
    noise = np.random.default_rng(0).normal(0, 8, (h, w, channels))
    return np.clip(128 + 100 * np.sin(5 * x + 3 * y)[..., None] + noise, 0, 255).astype(np.uint8)


def picture(path):
    return np.asarray(Image.open(path))


def test_a_run_that_is_stopped_leaves_no_picture(capsys, monkeypatch):
    """Its knobs are those that the same command gives again: it goes on like any run."""
    asked = []
    monkeypatch.setattr(train, "run", lambda words: asked.append(words) or 130)
    for _ in range(2):
        code, out, _ = said(capsys, "restore", "denoise", "whole.png", "--damage", *QUICK)
        assert (code, out) == (130, "")
    assert not Path("out.png").exists()
    assert asked[0] == asked[1]
    words = ("--task denoise", "--features 8", "--scales 1", "--patience 500", "--shape 1 12 12 3", "--batch 8")
    assert all(word in " ".join(asked[0]) for word in words)
    said(capsys, "restore", "denoise", "whole.png", "--damage", *QUICK, "--stop", "3")
    assert "--no-stops" in asked[2]
    assert "--steps 3" in " ".join(asked[2])


def test_a_picture_is_restored_by_a_run_of_its_own(capsys):
    do = ("restore", "denoise", "whole.png", "--damage", *QUICK)
    told = answered(capsys, *do, "--run", "a")
    image = picture("out.png")
    run, arrays = jaxgen.load("a", "last"), to_restore("whole.png", "denoise", damage=True)
    np.testing.assert_array_equal(arrays["image"], damaged(whole()[None], "denoise")["image"])
    np.testing.assert_array_equal(image, run.model.restored(run.variables, arrays)[0])
    for name, x in (("restored", image), ("damaged", arrays["image"][0])):
        figures = told[name]
        np.testing.assert_allclose(figures["psnr"], psnr(x[None], whole()[None], 256))
        np.testing.assert_allclose(figures["ssim"], ssim(x[None], whole()[None], 256))
    assert (told["steps"], told["given_back_of"]) == (4, [4])
    assert Path("a/samples/00000002-restored.png").is_file()
    assert Path("a/course.png").is_file()
    # The same name, another picture: what is complete is not taken for it.
    save_png(255 - whole(), "whole.png")
    assert "a restored another picture of this name" in said(capsys, *do, "--run", "a")[2]


def test_what_is_made_of_whole_pictures():
    image = whole(18, 17)[None]
    noise = damaged(image, "denoise", sigma=10.0)["image"].astype(float) - image
    assert noise.std() == pytest.approx(10, rel=0.2)
    small = damaged(image, "superres", factor=8)
    np.testing.assert_array_equal(small["original"], image[:, :16, :16])
    np.testing.assert_array_equal(small["small"], np.round(np.clip(downsampled(image[:, :16, :16] / 1.0, 8), 0, 255)))
    mask = damaged(np.repeat(image, 2, 0), "inpaint", missing=0.3)["mask"]
    assert mask.mean() == pytest.approx(0.7, abs=0.1)
    errors = [np.abs(damaged(image, "jpeg", quality=q)["image"] - image.astype(float)).mean() for q in (5, 50, 95)]
    assert errors == sorted(errors, reverse=True)


def test_arrays_of_each_task():
    """Masks are light where pixels are known; small pictures are shown enlarged; a gray one has one channel."""
    mask = np.full((12, 12, 1), 255, np.uint8)
    mask[3:5] = 0
    save_png(mask, "mask.png")
    arrays = to_restore("whole.png", "inpaint", mask="mask.png", original="whole.png")
    np.testing.assert_array_equal(arrays["mask"][0] == 0, mask[..., 0] == 0)
    assert (arrays["image"][0][3:5] == 96).all()
    np.testing.assert_array_equal(arrays["image"][0][5:], whole()[5:])
    arrays = to_restore("whole.png", "superres", factor=2)
    wanted = Image.fromarray(whole()).resize((24, 24), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(arrays["image"][0], np.asarray(wanted))
    save_png(whole(13, 12, 1), "gray.png")
    assert to_restore("gray.png", "jpeg")["image"].shape == (1, 13, 12, 1)
    assert to_restore("", "jpeg", crop=20)["original"].shape == (1, 20, 20, 3)


def test_luminance_is_that_of_pillow():
    """Pillow's Y is of the full range, 0 … 255."""
    y = np.asarray(Image.fromarray(whole()).convert("YCbCr"))[..., 0].astype(float)
    np.testing.assert_allclose(luminance(whole()[None])[0, ..., 0], 16 + y * 219 / 255, atol=1.5)


def test_bad_input_is_one_sentence_and_nothing_is_written(capsys):
    for name, value in (("dark", 0), ("light", 255)):
        save_png(np.full((12, 12, 1), value, np.uint8), f"{name}.png")
    save_png(whole(9, 12), "other.png")
    Image.fromarray(np.zeros((40, 40), np.uint16)).save("deep.png")

    def wrong(*words):
        return refused(capsys, "restore", *words, "-o", "out.png")

    inpaint = ("inpaint", "whole.png", "--mask")
    assert "mask other.png is 9×12, the picture is 12×12" in wrong(*inpaint, "other.png")
    assert "mask dark.png is dark all over" in wrong(*inpaint, "dark.png")
    assert "no pixel is missing" in wrong(*inpaint, "light.png")
    assert "inpaint wants a mask" in wrong("inpaint", "whole.png")
    assert "denoise takes none" in wrong("denoise", "whole.png", "--mask", "dark.png")
    assert "a factor of 2, 4 or 8, got 3" in wrong("superres", "whole.png", "--factor", "3")
    assert "the original other.png is 9×12, what is restored is 12×12" in wrong(
        "denoise", "whole.png", "--original", "other.png"
    )
    assert "5 scales wants images of at least 33×33 pixels, got 12×12" in wrong("denoise", "whole.png")
    assert "deep.png: wanted 8 bits per channel" in wrong("denoise", "deep.png")
    assert "there is no picture none.png" in wrong("denoise", "none.png")
    assert "--stop wants auto or a number of steps, got 'soon'" in wrong("denoise", "whole.png", "--stop", "soon")
    assert "is its own original" in wrong("denoise", "whole.png", "--damage", "--original", "whole.png")
    assert "wants a name that ends in .png" in refused(capsys, "restore", "jpeg", "whole.png", "-o", "out.jpg")
    assert "invalid choice" in wrong("sharpen", "whole.png")


def test_pictures_of_a_folder_are_taken_in_order_and_written_into_a_new_one():
    """All at once, so that they must have one size."""
    for number in range(2):
        save_png(whole() // (1 + number), f"in/{number}.png")
    arrays = to_restore("in", "denoise", original="in")
    np.testing.assert_array_equal(arrays["image"], [whole(), whole() // 2])
    np.testing.assert_array_equal(arrays["original"], arrays["image"])
    np.testing.assert_array_equal(arrays["number"], [0, 1])
    write(arrays["image"], Path("out"), True)
    for number, image in enumerate(arrays["image"]):
        np.testing.assert_array_equal(picture(f"out/{number:04d}.png"), image)
    save_png(whole(13), "in/2.png")
    with pytest.raises(UsageError, match="pictures differ in size"):
        to_restore("in", "denoise")
