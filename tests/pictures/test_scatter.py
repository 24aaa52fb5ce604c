"""Points in a plane: all of them are drawn, in the colours of their labels, and no name hides another."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from jaxgen.pictures.scatter import COLOURS, NAMED, _apart, scatter


@pytest.mark.parametrize("count", [0, 3, 12, NAMED + 1])
def test_points_are_told_apart_by_their_labels(count):
    """Every point is drawn; few labels have an entry and a name in the picture each, many a scale."""
    points = np.random.default_rng(0).normal(size=(60, 2))
    label = np.arange(60) % count if count else None
    figure = scatter(points, label, ("a", "b"))
    parts = figure.axes[0].collections
    drawn = np.concatenate([part.get_offsets() for part in parts])
    np.testing.assert_allclose(np.sort(drawn, axis=0), np.sort(points, axis=0))
    names = [text.get_text() for text in figure.axes[0].texts]
    assert names == [str(i) for i in range(count if count <= NAMED else 0)]
    assert (len(figure.legends), len(figure.axes)) == (int(0 < count <= NAMED), 1 + (count > NAMED))
    assert len(parts) == 1 + (count == 12)  # the second ten have a mark of their own
    if count in (3, 12):
        colours = np.concatenate([part.get_facecolors()[:, :3] for part in parts])
        for at, colour in zip(drawn, colours):
            own = label[np.linalg.norm(points - at, axis=1).argmin()]
            np.testing.assert_allclose(colour, to_rgb(COLOURS[own % len(COLOURS)]))


def test_axes_that_mean_nothing_have_no_numbers():
    figure = scatter(np.eye(2), None)
    assert len(figure.axes[0].get_xticks()) == len(figure.axes[0].get_yticks()) == 0


def test_names_of_labels_in_one_place_stand_apart():
    points = np.repeat([[0.0, 0.0], [0.0, 0.0], [0.001, 0.0], [9.0, 10.0]], 5, axis=0)
    at = _apart(points, np.repeat(np.arange(4), 5), 4)
    far = np.linalg.norm(at[:, None] - at, axis=-1) + 99 * np.eye(4)
    assert far.min() > 0.4  # of a picture that is 10 wide
    np.testing.assert_array_equal(at[3], [9, 10])
