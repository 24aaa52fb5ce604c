"""Scenes against the areas of their shapes, and sentences against the attributes that they were written from."""

import numpy as np
import pytest

from jaxgen.core.errors import UsageError
from jaxgen.data.scene_sentences import ATTRIBUTES, NUMBER, PLACES, SHAPES, kind_of, said, written
from jaxgen.data.scenes import GROUNDS, INKS, NOTCH, SQUARE, STAR, TRIANGLE, coverage, drawn_attributes, scenes

DRAW = np.random.Generator(np.random.Philox(key=[1, 2]))


def test_shapes_cover_the_area_of_their_formulas():
    """π; (2s)²; ¾√3 R² of a triangle; ten triangles with sides R and r at 36° of a star."""
    size, radius = 64, 17.3
    at = ((np.arange(size) + 0.5 - size / 2 - 0.3) / radius)[None]
    share = coverage(np.arange(4), at[..., None].repeat(4, 0), at[:, None].repeat(4, 0), np.full(4, radius))
    areas = [np.pi, 4 * SQUARE**2, 0.75 * np.sqrt(3) * TRIANGLE**2, 5 * STAR * NOTCH * np.sin(np.pi / 5)]
    np.testing.assert_allclose(share.sum((1, 2)) / radius**2, areas, rtol=4e-3)
    assert SHAPES == ("circle", "square", "triangle", "star")
    assert ((share > 0) & (share < 1)).any((1, 2)).all()  # edges are smooth


def test_a_sentence_tells_nothing_but_what_is_there_and_always_the_shapes_and_colours():
    attribute = drawn_attributes(400, (1, 2, 3), DRAW)
    sentences = [written(row, DRAW) for row in attribute]
    told = np.stack([said(sentence) for sentence in sentences])
    np.testing.assert_array_equal(told, np.where(told < 0, -1, attribute))
    always = [i for i, name in enumerate(ATTRIBUTES) if kind_of(name) in ("shape", "colour", "objects")]
    np.testing.assert_array_equal(told[:, always], attribute[:, always])
    assert (told[attribute[:, NUMBER["objects"]] > 0, NUMBER["place"]] >= 9).all()
    assert {kind_of(ATTRIBUTE) for ATTRIBUTE in ATTRIBUTES} == {
        "objects",
        "place",
        "background",
        *("shape", "colour", "size"),
    }
    shares = (told >= 0).mean(0)
    assert 0.4 < shares[NUMBER["background"]] < 0.6  # the sentence is silent about some
    assert 0.65 < shares[NUMBER["size_1"]] < 0.85


def test_a_sentence_may_be_turned_round():
    one, other = said("A big red circle above a blue square."), said("a blue square is below a large red disc")
    np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(said("a star right of a circle"), said("from left to right a circle and a star"))
    assert PLACES[said("in the bottom left corner there is a star")[NUMBER["place"]]] == "bottom left"


@pytest.mark.parametrize(
    ("sentence", "words"),
    [
        ("a dog in the grass", "tells of 0"),
        (" ".join(["a star"] * 4), "tells of 4"),
        ("a star, a star", "how they stand"),
    ],
)
def test_a_sentence_of_no_scene_is_refused(sentence, words):
    with pytest.raises(UsageError, match=words):
        said(sentence)


def test_attributes_are_those_of_the_picture():
    """Read from the pixels: the background at a corner, the inks in each share of the way, and one object's place."""
    data, inks = scenes(size=48, num=150, objects=(1, 2, 3), seed=3).load(), np.asarray(INKS)
    for image, attribute in zip(data.train.image.astype(int), data.train["attribute"], strict=True):
        scene = dict(zip(ATTRIBUTES, attribute, strict=True))
        assert np.abs(image[-1, 0] - np.asarray(GROUNDS)).sum(-1).argmin() == scene["background"]
        row, column = np.nonzero(np.abs(image - image[:, :1]).sum(-1) > 60)  # each row of pixels has its own light
        count, place = scene["objects"] + 1, PLACES[scene["place"]]
        if count == 1:
            down, across = (int(3 * (x.min() + x.max() + 1) / 2 / 48) for x in (row, column))
            assert PLACES[3 * down + across] == place
        way = column if place == "row" else row
        for i in range(1, count + 1):
            part = (way >= 48 * (i - 1) / count) & (way < 48 * i / count) if count > 1 else way >= 0
            hue = np.median(image[row[part], column[part]], axis=0)
            nearest = np.abs(hue / hue.sum() - inks / inks.sum(1, keepdims=True)).sum(-1).argmin()
            assert nearest == scene[f"colour_{i}"]


def test_the_same_seed_makes_the_same_scenes_and_another_others():
    one, again, other = (scenes(num=20, seed=seed).load().train for seed in (4, 4, 5))
    for name, array in one.items():
        np.testing.assert_array_equal(array, again[name])
    assert not np.array_equal(one.image, other.image)


@pytest.mark.parametrize(
    "settings", [{"size": 15}, {"num": 9}, {"objects": ()}, {"objects": (0, 1)}, {"objects": (4,)}]
)
def test_settings_that_make_no_scene_are_refused(settings):
    with pytest.raises(UsageError, match="scenes: "):
        scenes(**settings)
