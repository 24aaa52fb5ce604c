"""An object removed from a generator whose maps are known: what is left is the scene without it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.core.errors import UsageError
from jaxgen.explore.features import layers, with_relus
from jaxgen.explore.removal import box_of, coloured, forget, hits, inside, without

SIZE, OBJECT = 8, 3


def drawn(z, with_object=True):
    """Scenes of a grey floor with a texture, and a bright square of 3×3, whose corner the code's first two numbers say.
    Two maps are the square's, two the floor's; one is dark everywhere."""
    row = jnp.arange(SIZE)
    at = [(row >= z[:, i, None]) & (row < z[:, i, None] + OBJECT) for i in (0, 1)]
    square = (at[0][:, :, None] & at[1][:, None, :]).astype(jnp.float32)
    floor = (0.2 + 0.1 * jnp.sin(row[:, None] + 2.0 * row)) * (1.0 - square)
    maps = jnp.stack([square, floor, 0.5 * square - 0.1, 0.3 * floor, square - 2.0], axis=-1)
    maps = jax.nn.relu(maps)
    weight = jnp.array([1.0, 0.5, 1.0, 0.5, 1.0]) if with_object else jnp.array([0.0, 0.5, 0.0, 0.5, 0.0])
    return (maps @ weight)[..., None]


def places(num, seed):
    return np.random.default_rng(seed).integers(0, SIZE - OBJECT + 1, (num, 2)).astype(np.float32)


def boxes_of(z):
    return [(int(top), int(left), int(top) + OBJECT, int(left) + OBJECT) for top, left in z]


def test_the_object_goes_wherever_it_is_and_the_rest_stays():
    """From the boxes of twelve scenes; of the others not one keeps the object, and no pixel outside changes."""
    z, others = places(12, 0), places(50, 1)
    assert layers(drawn, (2,)) == [(SIZE, SIZE, 5)]
    net, maps = forget(drawn, z, boxes_of(z), 0, (SIZE, SIZE, 1))
    assert maps.tolist() == [True, False, True, False, False]
    before, after = np.asarray(drawn(others)), np.asarray(jax.jit(net)(others))
    bright = np.stack([inside(box, (SIZE, SIZE), (SIZE, SIZE)) for box in boxes_of(others)])
    assert (before[bright] > 1.0).all()
    np.testing.assert_allclose(after, drawn(others, with_object=False), atol=1e-6)
    assert (after[bright] == 0.0).all()


def test_maps_that_are_taken_out_are_zero_and_others_as_they_were():
    z = places(4, 2)
    net = without(drawn, 0, np.array([True, False, True, False, True]))
    np.testing.assert_allclose(net(z), drawn(z, with_object=False), atol=1e-6)
    np.testing.assert_array_equal(without(drawn, 0, np.zeros(5, bool))(z), drawn(z))
    tree = with_relus(lambda x: {"a": jax.nn.relu(x), "b": (x, 2 * x)}, lambda number, x, y: -y)(jnp.array([-1.0, 3.0]))
    assert tree["a"].tolist() == [0.0, -3.0]
    assert tree["b"][1].tolist() == [-2.0, 6.0]


def test_what_was_removed_is_counted_by_the_objects_colour():
    """Boxes that the colour finds are those that are known; all squares go and the rest is as it was, while without
    maps that are not the square's it stays and the floor goes."""
    z, others = places(12, 0), places(50, 1)
    image = lambda net: np.asarray(jnp.round(100.0 * jnp.clip(net(others), 0, 2.5)), np.uint8)  # noqa: E731
    found = [box_of(there) for there in coloured(np.asarray(jnp.round(100.0 * drawn(z)), np.uint8), (140,), 40)]
    assert found == boxes_of(z)
    net, maps = forget(drawn, z, found, 0, (SIZE, SIZE, 1))
    told = hits(image(drawn), image(net), (140,), 40)
    assert (told.percent, told.stderr, told.psnr, told.trials) == (100.0, 0.0, float("inf"), 50)
    told = hits(image(drawn), image(without(drawn, 0, ~maps)), (140,), 40)
    floor = np.mean(image(drawn)[image(drawn) < 100].astype(float) ** 2)
    assert told.percent == 0.0
    assert told.psnr == pytest.approx(10 * np.log10(255**2 / floor), abs=1.0)


def test_boxes_on_a_coarser_map_hold_the_pixels_whose_centres_they_hold():
    actual = inside((2, 0, 8, 4), (8, 8, 1), (4, 4, 5))
    np.testing.assert_array_equal(actual, [[0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0]])


def test_what_cannot_be_removed_is_said():
    with pytest.raises(UsageError, match=r"a colour of 3 numbers from 0 to 255, .* got 1, 2 and 60"):
        coloured(np.zeros((1, 2, 2, 3), np.uint8), (1, 2), 60)
    with pytest.raises(UsageError, match=r"none of 2 images has 3 pixels of the colour 9"):
        hits(*[np.zeros((2, 4, 4, 1), np.uint8)] * 2, (9,), 0, 3)
    for box in ((0, 0, 9, 3), (-1, 0, 3, 3), (3, 3, 3, 5), (0, 5, 3, 4)):
        with pytest.raises(UsageError, match=r"wants 0 ≤ top < bottom ≤ 8 and 0 ≤ left < right ≤ 8"):
            forget(drawn, places(1, 0), [box], 0, (8, 8, 1))
    with pytest.raises(UsageError, match=r"wanted a box for each of 2 codes, got 1"):
        forget(drawn, places(2, 0), [(0, 0, 3, 3)], 0, (8, 8, 1))
    with pytest.raises(UsageError, match=r"holds no pixel of a map of 2×2"):
        inside((0, 0, 1, 1), (8, 8), (2, 2))
    with pytest.raises(UsageError, match=r"holds all pixels of a map of 2×2"):
        inside((0, 0, 8, 8), (8, 8), (2, 2))
    with pytest.raises(UsageError, match=r"layer 0 is no map of the image, but numbers of shape \[2\]"):
        forget(lambda z: jax.nn.relu(z), places(1, 0), [(0, 0, 3, 3)], 0, (8, 8, 1))
