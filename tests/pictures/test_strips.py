"""Rows of pictures: where each lies, what a large picture's text is, and how long names are shown."""

import numpy as np

from jaxgen.pictures.page import LONGEST, TEXT, lines, text_size, words
from jaxgen.pictures.strips import LEAST, strips


def test_every_picture_is_in_its_row_and_column():
    """Found again by its own shade, in the order of rows and columns."""
    shade = np.arange(50, 56, dtype=np.uint8).reshape(2, 3)
    image = np.full((2, 3, 8, 8, 3), 200, np.uint8)
    image[..., 0] = shade[..., None, None]
    page = strips([(image[:, :1], ["a"]), (image[:, 1:], ["b", "c"])], ["one\nof two", "two"], "a title")
    places = {}
    for value in shade.reshape(-1):
        rows, columns = np.nonzero(page[..., 0] + 1000 * (page[..., 1] != 200) == value)
        whole = (rows.max() - rows.min() + 1, columns.max() - columns.min() + 1)
        assert whole == (LEAST, LEAST)
        places[value] = (rows.min(), columns.min())
    for row in shade:
        assert len({places[value][0] for value in row}) == 1
        assert places[row[0]][1] < places[row[1]][1] < places[row[2]][1]
    assert places[shade[0, 0]][0] < places[shade[1, 0]][0]


def test_text_beside_large_pictures_is_larger():
    assert text_size(56) == TEXT
    assert text_size(256) == 28
    assert words("a", 28).shape[0] > words("a").shape[0]


def test_of_a_long_line_the_end_is_shown():
    long = "pictures/" + "x" * 40 + "/17.png"
    np.testing.assert_array_equal(lines(f"{long}\nb"), lines(f"…{long[1 - LONGEST :]}\nb"))
