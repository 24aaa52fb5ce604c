"""Latent codes from the command line: files against the run's own numbers, bad input in one sentence."""

from pathlib import Path

import numpy as np
import pytest
from helpers import recipes as face_recipes
from helpers.cli import answered, refused, said, saved
from PIL import Image

import jaxgen
from jaxgen.cli.commands import reconstruct
from jaxgen.cli.inputs import named_images
from jaxgen.explore import planes
from jaxgen.explore.latent import active, decoded, informative, interpolate, prior_span, traverse, truncated, walk
from jaxgen.explore.planes import principal
from jaxgen.pictures.animation import write_gif
from jaxgen.pictures.grid import displayed, grid, gridded, partial
from jaxgen.pictures.page import scale_for
from jaxgen.pictures.strips import strips

VAE = "VAE(shape=(size, size, 1), levels=levels, latent=3, hidden=(8,))"
MODELS = {
    "vae": ("VAE", VAE),
    "labelled": ("VAE", VAE.replace("hidden=", "condition=__import__('jaxgen').Classes(10), hidden=")),
    "coder": ("AutoEncoder", VAE.replace("VAE", "AutoEncoder")),
    "maps": ("VAE", VAE.replace("VAE", "shared_by_tests.Maps").replace("latent=3", "latent=4")),
}
MAPS = '''"""A VAE whose codes are maps where images are encoded."""
from jaxgen.models import VAE


class Maps(VAE):
    def encode(self, variables, image, condition=None):
        return super().encode(variables, image, condition).reshape(-1, 2, 2, 1)


def called():
    pass
'''


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Run folders of a GAN, a pixel model, and models that encode images, with random weights."""
    home = tmp_path_factory.mktemp("latent")
    face_recipes.write(home)
    for name, (model, made) in MODELS.items():
        text = face_recipes.HEAD.format(title=f"Tiny {name}", model=model, made=made)
        (home / "experiments" / f"{name}.py").write_text(text)
    (home / "experiments" / "shared_by_tests.py").write_text(MAPS)
    return face_recipes.untrained(home, *MODELS, "gan", "tiny")


@pytest.fixture(scope="module")
def vae(runs):
    return jaxgen.load(runs / "vae")


@pytest.fixture(scope="module")
def gan(runs):
    return jaxgen.load(runs / "gan")


def picture(path):
    return np.asarray(Image.open(path))


# --- ways ----------------------------------------------------------------------------------------------------------


def test_ways_between_draws_are_rows_of_a_picture(runs, gan, capsys):
    actual = answered(capsys, "interpolate", runs / "gan", "--num", 3, "--steps", 4, "--seed", 7, "-o", "i.png")
    np.testing.assert_allclose(actual["t"], [0, 1 / 3, 2 / 3, 1])
    assert actual["num"] == 3
    z = gan.prior(6, 7)
    image = decoded(gan.decode, interpolate(gan.model, z[:3], z[3:], 4))
    np.testing.assert_array_equal(image[:, 0], gan.decode(z[:3]))
    names = ["draw 0\nto draw 3", "draw 1\nto draw 4", "draw 2\nto draw 5"]
    title = "DCGAN, step 1: straight between two draws of the prior"
    page = strips([(displayed(image, 17), ["0", "0.33", "0.67", "1"])], names, title)
    np.testing.assert_array_equal(picture("i.png"), page)
    assert "straight between two draws" in said(capsys, "interpolate", runs / "gan", "--num", 1, "--steps", 2)[1]
    assert (runs / "gan" / "interpolate-seed0.png").is_file()


def test_ways_between_images_begin_and_end_at_their_reconstructions(runs, vae, capsys):
    do = ("interpolate", runs / "vae", "test:3", "valid", "--num", 2, "--steps", 3)
    actual = answered(capsys, *do, "-o", "i.png")
    last = named_images(vae, "valid", 2)
    assert actual["names"] == [["test 3", name] for name in last.names]
    first = vae.dataset.test.image[[3, 3]]
    codes = interpolate(vae.model, vae.encode(first), vae.encode(last.image), 3, "straight")
    image = displayed(decoded(vae.decode, codes), 17)
    np.testing.assert_array_equal(image[:, 0], displayed(vae.reconstruct(first), 17))
    np.testing.assert_array_equal(image[:, -1], displayed(vae.reconstruct(last.image), 17))
    ends = [displayed(end[:, None], 17) for end in (first, last.image)]
    blocks = [(ends[0], ["from"]), (image, ["0", "0.5", "1"]), (ends[1], ["to"])]
    names = ["\nto ".join(pair) for pair in actual["names"]]
    title = "VAE, step 1: straight between the codes of two images"
    np.testing.assert_array_equal(picture("i.png"), strips(blocks, names, title))
    do = (*do, "--way", "spherical", "-o", "i.png")
    assert "along a great circle between the codes of two images" in said(capsys, *do)[1]


def test_two_pictures_are_the_ends_of_a_way_each_decoded_by_its_class(runs, capsys):
    """The ends are the reconstructions under their own labels; --label takes one for all."""
    labelled = jaxgen.load(runs / "labelled")
    for number, label in ((0, 2), (1, 7)):
        image = labelled.dataset.test.image[number : number + 1]
        np.savez(f"{number}.npz", image=image, label=np.array([label]))
    do = ("interpolate", runs / "labelled", "0.npz", "1.npz", "--steps", 4, "-o", "i.png")
    assert "classes change halfway" in said(capsys, *do)[1]
    image, label = labelled.dataset.test.image[:2], np.array([2, 7], np.int32)
    z = labelled.encode(image, label)
    codes = interpolate(labelled.model, z[:1], z[1:], 4, "straight")
    way = labelled.decode(codes[0], np.array([2, 2, 7, 7], np.int32))
    np.testing.assert_array_equal(way[[0, -1]], labelled.reconstruct(image, label))
    blocks = [(displayed(way[None], 17), ["0", "0.33", "0.67", "1"])]
    blocks = [(displayed(image[:1, None], 17), ["from"]), *blocks, (displayed(image[1:, None], 17), ["to"])]
    title = f"{type(labelled.model).__name__}, step 1: straight between the codes of two images"
    np.testing.assert_array_equal(picture("i.png"), strips(blocks, ["0 0\nto 1 0"], title))
    assert "halfway" not in said(capsys, *do, "--label", 5)[1]


def test_what_is_no_prior_has_ways_between_images(runs, capsys):
    """An auto-encoder decodes the codes of images, and draws none."""
    coder = jaxgen.load(runs / "coder")
    actual = answered(capsys, "interpolate", runs / "coder", "test:0", "test:1", "--steps", 2, "-o", "i.png")
    assert actual["way"] == "straight"
    back = displayed(coder.reconstruct(coder.dataset.test.image[:2]), 17)
    ends = displayed(coder.dataset.test.image[:2], 17)
    blocks = [(ends[:1, None], ["from"]), (back[None], ["0", "1"]), (ends[1:, None], ["to"])]
    title = "AutoEncoder, step 1: straight between the codes of two images"
    np.testing.assert_array_equal(picture("i.png"), strips(blocks, ["test 0\nto test 1"], title))
    actual = answered(capsys, "traverse", runs / "coder", "test:0", "--num", 1, "--steps", 2, "-o", "t.png")
    z = coder.encode(coder.dataset.valid.image)
    middle, reach = z.mean(), 3 * z.std()
    ends = [max(middle - reach, z.min()), min(middle + reach, z.max())]
    np.testing.assert_allclose(actual["values"], ends, atol=0.06)
    message = refused(capsys, "interpolate", runs / "coder")
    assert "AutoEncoder has no prior to draw codes from" in message
    assert "name images" in message


@pytest.mark.parametrize("one_way", [False, True])
def test_a_walk_moves_or_lies_in_rows(runs, gan, capsys, one_way):
    do = ("walk", runs / "gan", "--points", 3, "--steps", 2, *(["--one-way"] if one_way else []))
    image = gan.decode(walk(gan.model, gan.prior(3, 0), 2, not one_way))
    assert answered(capsys, *do, "-o", "w.gif")["images"] == len(image) == (5 if one_way else 6)
    with Image.open("w.gif") as gif:
        assert gif.n_frames == len(image)
        for number, frame in enumerate(image):
            gif.seek(number)
            np.testing.assert_array_equal(np.asarray(gif.convert("L")), gridded(frame[None], 17)[..., 0])
    answered(capsys, *do, "-o", "w.png")
    rows = np.array([[0, 1, 2], [2, 3, 4], [4, 5, 0]])[: 2 if one_way else 3]
    names = ["draw 0\nto draw 1", "draw 1\nto draw 2", "draw 2\nto draw 0"][: len(rows)]
    blocks = [(displayed(image[rows], 17), ["0", "0.5", "1"])]
    np.testing.assert_array_equal(picture("w.png"), strips(blocks, names, "DCGAN, step 1: a walk, straight"))


def test_a_walk_through_images_passes_their_reconstructions(runs, vae, capsys):
    do = ("walk", runs / "vae", "test", "--points", 3, "--steps", 2, "--one-way", "-o", "w.gif")
    actual = answered(capsys, *do)
    images = named_images(vae, "test", 3)
    assert actual["names"] == images.names
    with Image.open("w.gif") as gif:
        for number, back in enumerate(vae.reconstruct(images.image)):
            gif.seek(2 * number)
            np.testing.assert_array_equal(np.asarray(gif.convert("L")), gridded(back[None], 17)[..., 0])


def test_a_gif_has_the_colours_of_all_its_frames(tmp_path):
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    write_gif([np.full((4, 5, 3), colour, np.uint8) for colour in colours], tmp_path / "a.gif", rest=0.0)
    with Image.open(tmp_path / "a.gif") as gif:
        for number, colour in enumerate(colours):
            gif.seek(number)
            assert np.asarray(gif.convert("RGB"))[0, 0].tolist() == [*colour]
            assert gif.info["duration"] == 2000


def test_a_traversal_has_a_row_for_each_dimension(runs, vae, capsys):
    do = ("traverse", runs / "vae", "test:5", "--dims", 2, 0, "--range", -2, 2, "--steps", 3)
    actual = answered(capsys, *do, "-o", "t.png")
    assert (actual["dims"], actual["values"], actual["image"]) == ([2, 0], [-2, 0, 2], "test 5")
    original = vae.dataset.test.image[5:6]
    code = vae.encode(original)[0]
    np.testing.assert_allclose(actual["code"], code[[2, 0]], rtol=1e-6)
    image = displayed(decoded(vae.decode, traverse(code, [2, 0], [-2.0, 0.0, 2.0])), 17)
    blocks = [(displayed(original[[0, 0], None], 17), ["image"]), (image, ["-2", "0", "2"])]
    title = "VAE, step 1: the code of test 5, one number varied"
    np.testing.assert_array_equal(picture("t.png"), strips(blocks, [f"z{d} = {code[d]:.2f}" for d in (2, 0)], title))


def test_the_most_informative_numbers_of_an_encoder_come_first(runs, vae, capsys):
    actual = answered(capsys, "traverse", runs / "vae", "test:5", "--num", 2, "-o", "t.png")
    order, variance = informative(vae.encode(vae.dataset.valid.image))
    assert actual["dims"] == order[:2].tolist()
    np.testing.assert_allclose(actual["variance"], variance[:2], rtol=1e-5)


def test_by_default_a_draws_most_active_numbers_are_varied_as_far_as_the_prior_goes(runs, gan, capsys):
    actual = answered(capsys, "traverse", runs / "gan", "--num", 2, "-o", "t.png")
    assert actual["dims"] == active(gan.decode, gan.prior(1, 0)[0], 2, prior_span(gan.model)).tolist()
    assert (actual["values"][0], actual["values"][-1], actual["image"]) == (-1, 1, None)


# --- embed, reconstruct --------------------------------------------------------------------------------------------


def test_embedded_images_keep_their_names_and_labels(runs, vae, capsys):
    actual = answered(capsys, "embed", runs / "vae", "test", "--num", 6, "-o", "z.npz", "--picture", "pca")
    images = named_images(vae, "test", 6)
    with np.load("z.npz") as file:
        np.testing.assert_allclose(file["z"], vae.encode(images.image), rtol=1e-5)
        assert (file["z"].dtype, file["label"].dtype) == (np.float32, np.int32)
        np.testing.assert_array_equal(file["label"], vae.dataset.test.label[[int(n.split()[1]) for n in images.names]])
        assert file["name"].tolist() == images.names
        points, share = principal(file["z"])
        np.testing.assert_allclose(actual["variance"], share)
        np.testing.assert_allclose(file["plane"], points, rtol=1e-5, atol=1e-6)
    assert (actual["num"], actual["dims"], actual["labels"]) == (6, 3, True)
    assert actual["picture"] == "z-pca.png"
    assert min(picture("z-pca.png").shape[:2]) > 500
    np.savez("bare.npz", image=images.image)
    assert answered(capsys, "embed", runs / "vae", "bare.npz", "-o", "b.npz")["labels"] is False
    with np.load("b.npz") as file:
        assert sorted(file.files) == ["name", "z"]


def test_more_points_than_tsne_takes_are_evenly_spaced(runs, capsys, monkeypatch):
    monkeypatch.setattr(planes, "MOST_POINTS", 5)
    code, out, _ = said(capsys, "embed", runs / "vae", "--num", 9, "-o", "z.npz", "--picture", "tsne")
    assert code == 0
    assert "t-SNE of perplexity 1.33333 of 5 of them, evenly spaced" in out
    with np.load("z.npz") as file:
        assert np.isfinite(file["plane"]).all(axis=1).nonzero()[0].tolist() == [0, 2, 4, 6, 8]
        np.testing.assert_allclose(file["plane"][::2], planes.tsne(file["z"][::2]))
    assert min(picture("z-tsne.png").shape[:2]) > 500


def test_codes_that_are_maps_are_embedded_as_they_are(runs, capsys):
    """And what a command decodes is of another shape, where it has as many numbers."""
    actual = answered(capsys, "embed", runs / "maps", "--num", 3, "-o", "z.npz", "--picture", "pca")
    assert actual["dims"] == 4
    assert "3 images as 2×2×1 numbers each" in said(capsys, "embed", runs / "maps", "--num", 3, "-o", "z.npz")[1]
    with np.load("z.npz") as file:
        assert file["z"].shape == (3, 2, 2, 1)
    maps = jaxgen.load(runs / "maps")
    answered(capsys, "interpolate", runs / "maps", "test:0", "test:1", "--steps", 2, "-o", "i.png")
    z = maps.encode(maps.dataset.test.image[:2]).reshape(2, 4)
    image = displayed(maps.decode(z), 17)
    ends = displayed(maps.dataset.test.image[:2], 17)
    blocks = [(ends[:1, None], ["from"]), (image[None], ["0", "1"]), (ends[1:, None], ["to"])]
    title = "Maps, step 1: straight between the codes of two images"
    np.testing.assert_array_equal(picture("i.png"), strips(blocks, ["test 0\nto test 1"], title))


def test_reconstructions_are_measured_against_their_images(runs, vae, capsys):
    """PSNR by its definition, 10 log10(peak² / mean squared error), of an image as it is written."""
    actual = answered(capsys, "reconstruct", runs / "vae", "test", "--num", 5, "--show", 3, "-o", "r.png")
    image = named_images(vae, "test", 5).image
    assert actual["shown"] == [0, 2, 4]
    back = vae.reconstruct(image)
    error = ((image.astype(float) - back) ** 2).mean(axis=(1, 2, 3))
    expected = 10 * np.log10(16**2 / error)
    np.testing.assert_allclose(actual["psnr"], expected, rtol=1e-5)
    assert actual["mean"]["psnr"] == pytest.approx(np.mean(expected), rel=1e-5)
    assert actual["mean"]["ssim"] is actual["ssim"] is None  # of images smaller than its window
    scale = scale_for((8, 8, 1), 64)
    shown = picture("r.png")[16 : 16 + 8 * scale : scale, 16 + 8 * scale + 2 : 16 + 16 * scale + 2 : scale, 0]
    np.testing.assert_array_equal(shown, displayed(back, 17)[0, ..., 0])


def test_an_image_that_comes_back_as_it_was_stays_out_of_the_mean():
    told = reconstruct.means(np.array([20.0, np.inf, 30.0]), None)
    assert told == {"psnr": 25.0, "ssim": None}
    text = reconstruct.sentence(3, 3, 1, told)
    assert text == "3 images and their reconstructions, PSNR 25 dB on average over the 2 that are not equal"
    told = reconstruct.means(np.array([np.inf]), np.array([1.0]))
    text = reconstruct.sentence(2, 1, 2, told)
    assert text == "2 images and their reconstructions, 1 of them shown, all equal, SSIM 1"
    assert reconstruct.caption("a", float("inf"), None) == "a\nequal"
    assert reconstruct.caption("test 3", 12.34, 0.5) == "test 3\n12.3 dB, SSIM 0.500"


# --- sample --plain ------------------------------------------------------------------------------------------------


def test_plain_samples_are_the_pixels_and_nothing_else(runs, gan, capsys):
    image = displayed(gan.sample(5), 17)
    answered(capsys, "sample", runs / "gan", "--num", 1, "--plain", "-o", "one.png")
    np.testing.assert_array_equal(picture("one.png"), image[0, ..., 0])
    answered(capsys, "sample", runs / "gan", "--num", 5, "--plain", "-o", "five.png")
    page = picture("five.png")
    assert page.shape == (16, 24)
    np.testing.assert_array_equal(page[8:, 8:16], image[4, ..., 0])
    answered(capsys, "sample", runs / "tiny", "--num", 1, "--plain", "-o", "one.npz", "--frames", "frames")
    drawn = saved("one.npz")
    frames = [picture(path) for path in sorted(Path("frames").iterdir())]
    np.testing.assert_array_equal(frames[-1], displayed(drawn, 17)[0, ..., 0])
    nothing = partial(drawn, np.zeros((8, 8), bool), 17)
    np.testing.assert_array_equal(frames[0], grid(nothing, 256, margin=0)[..., 0])


def test_truncated_samples_are_images_of_the_priors_draws_cut_off(runs, vae, capsys):
    told = answered(capsys, "sample", runs / "vae", "--num", 5, "--truncation", 0.5, "--seed", 2, "-o", "t.npz")
    assert told["truncation"] == 0.5
    np.testing.assert_array_equal(saved("t.npz"), vae.decode(truncated(vae.prior(5, 2), 0.5)))
    answered(capsys, "interpolate", runs / "vae", "--num", 2, "--steps", 3, "--truncation", 0.5, "-o", "i.png")
    a, b = np.split(truncated(vae.prior(4), 0.5), 2)
    image = displayed(decoded(vae.decode, interpolate(vae.model, a, b, 3)), 17)
    title = "VAE, step 1: along a great circle between two draws of the prior"
    page = strips([(image, ["0", "0.5", "1"])], ["draw 0\nto draw 2", "draw 1\nto draw 3"], title)
    np.testing.assert_array_equal(picture("i.png"), page)


# --- bad input -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        (["interpolate", "tiny"], ["PixelCNN cannot interpolate between latent codes", "VAE"]),
        (
            ["interpolate", "gan", "test", "valid"],
            ["DCGAN cannot interpolate between images", "VAE"],
        ),
        (["interpolate", "vae", "test"], ["a way from test wants an end", "RUN FROM TO"]),
        (["interpolate", "vae", "small.png", "test"], ["small.png has 9×9×1"]),
        (["interpolate", "vae", "test:0", "small.png"], ["small.png has 9×9×1"]),
        (["interpolate", "vae", "two.npz", "three.npz"], ["as many images", "got 2 and 3"]),
        (["interpolate", "vae", "test:400", "test"], ["no image 400", "from 0 to 359"]),
        (["interpolate", "vae", "--way", "round"], ["--way", "round"]),
        (["interpolate", "vae", "--steps", "1"], ["--steps must be at least 2", "got 1"]),
        (["interpolate", "gan", "--label", "3"], ["--label 3: DCGAN is unconditional"]),
        (["walk", "tiny"], ["PixelCNN cannot walk from latent code to latent code"]),
        (["walk", "gan", "--points", "1"], ["--points must be at least 2", "got 1"]),
        (["walk", "gan", "--steps", "0"], ["--steps must be at least 1"]),
        (["walk", "gan", "test"], ["DCGAN cannot walk from image to image", "VAE"]),
        (["walk", "vae", "test:3"], ["at least 2 images, test:3 is one"]),
        (["walk", "gan", "-o", "w.npz"], ["ends in .png or .gif"]),
        (["traverse", "vae", "--dims", "3"], ["the code has dimensions 0 to 2, got 3"]),
        (["traverse", "vae", "--range", "nan", "1"], ["--range wants two finite numbers, got nan"]),
        (["traverse", "gan", "test"], ["DCGAN cannot vary the code of an image"]),
        (["traverse", "tiny"], ["PixelCNN cannot vary the numbers of a latent code"]),
        (["embed", "gan", "test"], ["DCGAN cannot embed images", "Models that can", "VAE"]),
        (["embed", "vae", "test", "--picture", "umap"], ["--picture", "umap"]),
        (["embed", "vae", "test:0", "--picture", "tsne"], ["at least 4 images, test:0 has 1"]),
        (["embed", "vae", "test", "--perplexity", "0"], ["--perplexity must be at least 1, got 0"]),
        (["embed", "vae", "test", "-o", "no/z.npz"], ["--output no/z.npz: its folder is not there"]),
        (["embed", "vae", "small.png"], ["small.png has 9×9×1"]),
        (["embed", "vae", "test", "-o", "z.png"], ["ends in .npz"]),
        (["reconstruct", "gan"], ["DCGAN cannot reconstruct images"]),
        (["reconstruct", "vae", "two.npz:2"], ["there is no image 2", "from 0 to 1"]),
        (["reconstruct", "vae", "--num", "0"], ["--num must be at least 1"]),
        (["reconstruct", "vae", "--show", "0"], ["--show must be at least 1"]),
        (["sample", "vae", "--truncation", "0"], ["truncation must be a number above 0, got 0"]),
        (["sample", "gan", "--truncation", "2"], ["of a prior N(0, I), and DCGAN has another"]),
        (["sample", "tiny", "--truncation", "2"], ["PixelCNN cannot draw from a truncated prior"]),
        (["sample", "vae", "--truncation", "2", "--prior", "mixture"], ["--truncation cuts off the model's own prior"]),
        (["interpolate", "vae", "test:0", "test:1", "--truncation", "2"], ["--truncation is of draws of the prior"]),
        (["walk", "vae", "--truncation", "nan"], ["truncation must be a number above 0, got nan"]),
        (["sample", "vae", "--plain", "-o", "x.npz"], ["--plain is about pictures", "x.npz"]),
    ],
    ids=lambda value: " ".join(value) if value[0].islower() else "",
)
def test_bad_input_gets_one_sentence_and_writes_nothing(args, parts, runs, capsys):
    Image.fromarray(np.full((9, 9), 200, np.uint8)).save("small.png")
    for name, count in (("two", 2), ("three", 3)):
        np.savez(f"{name}.npz", image=np.zeros((count, 8, 8, 1), np.uint8))
    inside = sorted(runs.rglob("*"))
    message = refused(capsys, args[0], *(str(runs / arg) if i == 0 else arg for i, arg in enumerate(args[1:])))
    assert sorted(runs.rglob("*")) == inside
    for part in parts:
        assert part in message
