"""Pairs of pictures by name and by halves, and inputs that are made of images."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxgen.core.errors import UsageError
from jaxgen.data import made_pairs
from jaxgen.data.dataset import Source, Split, finish
from jaxgen.data.made_pairs import edges, gray, masked, segments, shared_palette, with_inputs
from jaxgen.data.pairs import jittered, pairs
from jaxgen.data.source import source

RNG = np.random.default_rng(0)
KEY = jax.random.key(3)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("JAXGEN_CACHE", str(tmp_path_factory.mktemp("cache")))


def save(file: Path, image: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(file)


@pytest.fixture
def homes(tmp_path):
    """Two folders of twelve pictures, in one of which each has the number of its partner in its first pixel."""
    for i in range(12):
        image = RNG.integers(0, 256, (4, 6, 3), dtype=np.uint8)
        image[0, 0] = i
        save(tmp_path / "photos" / f"{i:02d}.png", image)
        save(tmp_path / "labels" / f"{i:02d}.bmp", np.full((4, 6, 1), 20 * i, np.uint8))
    return tmp_path / "photos", tmp_path / "labels"


def test_partners_have_one_name_in_two_folders(homes):
    photos, labels = homes
    data = source(f"pairs:{photos},inputs={labels}").load()
    assert (len(data.train), len(data.valid), data.shape) == (11, 1, (4, 6, 3))
    for split in (data.train, data.valid):
        number = split.image[:, 0, 0, 0]
        np.testing.assert_allclose(
            split.condition, np.full((len(split), 4, 6, 1), 20 * number[:, None, None, None] / 255)
        )


def test_splits_are_those_of_the_subfolders_of_both(homes):
    photos, labels = homes
    for home, suffix in ((photos, "png"), (labels, "bmp")):
        for i in range(12):
            split = home / ("train" if i < 8 else "test")
            split.mkdir(exist_ok=True)
            (home / f"{i:02d}.{suffix}").rename(split / f"{i:02d}.{suffix}")
    data = pairs(photos, str(labels)).load()
    np.testing.assert_array_equal(data.test.image[:, 0, 0, 0], range(8, 12))
    np.testing.assert_allclose(255 * data.test.condition[:, 0, 0, 0], 20.0 * np.arange(8, 12), rtol=1e-6)


def test_halves_of_double_pictures_change_sides(tmp_path):
    double = RNG.integers(0, 256, (5, 4, 12, 3), dtype=np.uint8)
    for i, image in enumerate(double):
        save(tmp_path / "doubles" / f"{i}.png", image)
    for side, told, image in (("left", np.s_[:, :, :6], np.s_[:, :, 6:]), ("right", np.s_[:, :, 6:], np.s_[:, :, :6])):
        data = pairs(tmp_path / "doubles", side).load()
        images = np.concatenate([data.train.image, data.valid.image])
        maps = np.concatenate([data.train.condition, data.valid.condition])
        order = [next(i for i in range(5) if (double[image][i] == x).all()) for x in images]
        np.testing.assert_allclose(maps, double[told][order] / np.float32(255))
    small = pairs(tmp_path / "doubles", "left", crop="square", resize=2).load()
    assert small.shape == (2, 2, 3)
    assert small.train.condition.shape[1:] == (2, 2, 3)


def test_pairs_that_are_none_are_refused(homes, tmp_path):
    photos, labels = homes
    with pytest.raises(UsageError, match=r"wanted inputs=FOLDER.* or inputs=left"):
        source(f"pairs:{photos}")
    (labels / "03.bmp").rename(labels / "03b.bmp")
    with pytest.raises(UsageError, match=r"photos/03: has no picture of its name in .*labels, nor have 0 others of 12"):
        pairs(photos, str(labels)).load()
    (labels / "03b.bmp").unlink()
    (photos / "03.png").unlink()
    save(labels / "11b.bmp", np.zeros((4, 6, 1), np.uint8))
    with pytest.raises(UsageError, match=r"labels/11b: has no picture of its name in .*photos"):
        pairs(photos, str(labels)).load()
    (labels / "11b.bmp").unlink()
    for file in labels.iterdir():
        save(file, np.zeros((4, 5, 1), np.uint8))
    with pytest.raises(UsageError, match=r"pairs differ in size: .*photos 4x6 but .*labels 4x5 .* resize=4"):
        pairs(photos, str(labels)).load()
    assert pairs(photos, str(labels), resize=4).load().train.condition.shape == (10, 4, 4, 1)
    for i in range(3):
        save(tmp_path / "odd" / f"{i}.png", np.zeros((2, 5, 1), np.uint8))
    with pytest.raises(UsageError, match=r"odd: double pictures have an even width, got 2x5"):
        pairs(tmp_path / "odd", "left").load()


EDGES = jax.jit(edges)


def test_an_edge_is_one_pixel_wide_and_stands_where_the_image_changes():
    """Of steps of several heights and in one channel alone; the other way round along the other axis."""
    step = np.zeros((4, 9, 9, 3), np.float32)
    step[0, :, 4:, 1] = 1.0
    step[1, :, 4:] = 0.3
    step[2] = 0.7
    step[3, :, 4:] = 0.15
    lines = np.zeros((4, 9, 9))
    lines[:2, :, 3] = 1
    np.testing.assert_array_equal(EDGES(step)[..., 0], lines)
    np.testing.assert_array_equal(EDGES(step.swapaxes(1, 2))[..., 0], lines.swapaxes(1, 2))


def test_a_weak_edge_stays_where_a_strong_one_leads_to_it():
    """A step that falls to half its height: what is weak goes on from what is strong, and alone it is none."""
    steps = np.zeros((4, 9, 9, 3), np.float32)
    steps[0, :5, 4:], steps[0, 5:, 4:] = 0.3, 0.17
    steps[1, :, 4:] = 0.17
    line, alone = np.asarray(EDGES(steps))[:2, ..., 0]
    np.testing.assert_array_equal(line.sum(axis=1), 1)
    assert not alone.any()


def test_segments_are_the_nearest_of_few_colours_that_images_share():
    colours = np.array([[10, 20, 200], [240, 10, 10], [10, 240, 30]], np.uint8)
    labels = np.kron(RNG.integers(0, 3, (6, 2, 2)), np.ones((8, 8), int))
    noisy = (colours[labels] + RNG.integers(-8, 8, (6, 16, 16, 3))).astype(np.uint8)
    palette = shared_palette(noisy, 3, 256)
    np.testing.assert_allclose(np.sort(255 * palette, axis=0), np.sort(colours, axis=0), atol=1.0)
    flat = np.asarray(segments(jnp.asarray(noisy / np.float32(255)), palette))
    inside = np.s_[:, 2:6, 2:6]  # away from borders, where neighbours mix
    wanted = ((colours[labels][..., None, :] / 255.0 - palette) ** 2).sum(-1).argmin(-1)
    np.testing.assert_array_equal(flat[inside], palette[wanted[inside]])


def test_a_hole_has_half_the_sides_and_grey_weighs_colours_as_light():
    x = jnp.full((40, 6, 9, 3), 0.9)
    hole = np.asarray(jax.jit(masked)(x, KEY) != x).any(-1)
    assert set(hole.sum(axis=(1, 2))) == {3 * 4}
    assert {int(row.argmax()) for row in hole.any(2)} == {0, 1, 2, 3}
    np.testing.assert_allclose(gray(jnp.eye(3).reshape(1, 1, 3, 3))[0, 0, :, 0], [0.299, 0.587, 0.114])


def images(shape, brings=()):
    """A source of noise under no transform."""
    image = RNG.integers(0, 256, (20, *shape), dtype=np.uint8)
    split = Split(image, **{name: np.zeros((20, *shape), np.float32) for name in brings})
    return Source("noise", lambda: finish("noise", {"train": split}, 256, "noise"))


def test_made_inputs_follow_what_is_done_to_the_images():
    """The brightness of an image that was jittered is that of the window of it that is seen."""
    data = with_inputs(jittered(images((9, 9, 3))), "gray").load()
    batch = {"image": data.train.image[:4]}
    transform = jax.jit(data.transform, static_argnums=2)
    seen = transform(batch, KEY, True)
    np.testing.assert_allclose(seen["condition"], gray(np.asarray(seen["image"], np.float32) / 255), rtol=1e-5)
    assert (np.asarray(seen["image"]) != batch["image"]).any()
    assert data.transform(batch, KEY, False)["image"] is batch["image"]


def test_both_pictures_of_a_pair_are_jittered_alike(homes):
    ramp = np.arange(16 * 16, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, 0)
    split = Split(ramp, condition=ramp / np.float32(255))
    data = jittered(Source("ramps", lambda: finish("ramps", {"train": split}, 256, "ramps"))).load()
    seen = jax.jit(data.transform, static_argnums=2)({"image": ramp, "condition": split.condition}, KEY, True)
    np.testing.assert_allclose(255 * seen["condition"], seen["image"], atol=0.51)
    assert len({np.asarray(image).tobytes() for image in seen["image"]}) > 1


def test_inputs_that_cannot_be_made_are_refused():
    with pytest.raises(UsageError, match=r"inputs: wanted one of edges, segments, gray, masked, got 'edge'. Did you"):
        with_inputs(images((8, 8, 1)), "edge")
    with pytest.raises(UsageError, match="gray inputs are made of images in colour"):
        with_inputs(images((8, 8, 1)), "gray").load()
    with pytest.raises(UsageError, match="brings conditions of its own"):
        with_inputs(images((8, 8, 3), ["condition"]), "edges").load()
    assert set(made_pairs.INPUTS) == {"edges", "segments", "gray", "masked"}
