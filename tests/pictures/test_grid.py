"""Grids of images: where each image lies, what a page of them holds as a file."""

import numpy as np
import pytest
from PIL import Image

from jaxgen.pictures.grid import HOLE, PICTURE_WIDTH, displayed, grid, save_png, side_by_side, write_grid


def images(count, shape=(3, 4, 1), levels=5):
    return np.random.default_rng(0).integers(0, levels, (count, *shape)).astype(np.uint8)


def test_a_grid_has_each_image_in_its_place_and_nothing_else():
    image = images(5)
    page = grid(image, 5, columns=3)
    assert page.shape == (2 * 4 + 1, 3 * 5 + 1, 1)
    seen = np.zeros(page.shape, bool)
    for i in range(5):
        at = np.s_[1 + i // 3 * 4 :, 1 + i % 3 * 5 :]
        np.testing.assert_array_equal(page[at][:3, :4], np.round(image[i] / 4 * 255))
        seen[at][:3, :4] = True
    assert (page[~seen] == HOLE).all()


def test_a_grid_is_about_as_many_rows_as_columns():
    assert grid(images(16), 5).shape == (4 * 4 + 1, 4 * 5 + 1, 1)
    assert grid(images(2), 5, columns=9).shape == (4 + 1, 2 * 5 + 1, 1)
    np.testing.assert_array_equal(grid(images(1), 5, margin=0), displayed(images(1), 5)[0])


def test_completions_stand_behind_the_original_and_what_was_given():
    image, drawn = images(2), images(6)
    given = np.arange(4) < np.full((3, 1), 2)
    rows = side_by_side(image, given, drawn, 5).reshape(2, 5, 3, 4, 1)
    np.testing.assert_array_equal(rows[:, 0], displayed(image, 5))
    np.testing.assert_array_equal(rows[:, 1][:, given], displayed(image, 5)[:, given])
    assert (rows[:, 1][:, ~given] == HOLE).all()
    np.testing.assert_array_equal(rows[:, 2:].reshape(6, 3, 4, 1), displayed(drawn, 5))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_is_read_again_as_it_was_written(channels, tmp_path):
    picture = images(1, (3, 4, channels), 256)[0]
    path = save_png(picture, tmp_path / "there/x.png", scale=2)
    with Image.open(path) as read:
        back = np.asarray(read).reshape(6, 8, channels)
    np.testing.assert_array_equal(back, picture.repeat(2, 0).repeat(2, 1))
    assert [file.name for file in path.parent.iterdir()] == ["x.png"]


def test_small_images_are_enlarged_by_a_whole_factor(tmp_path):
    page = grid(images(4), 5)
    with Image.open(write_grid(images(4), 5, tmp_path / "x.png")) as read:
        factor = read.width // page.shape[1]
        assert read.width >= PICTURE_WIDTH > read.width - page.shape[1]
        np.testing.assert_array_equal(np.asarray(read)[::factor, ::factor], page[..., 0])
