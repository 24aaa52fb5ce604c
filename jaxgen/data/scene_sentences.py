"""What is said of a scene (`data.scenes`): its attributes as numbers, as a sentence, and read from a sentence again.

An attribute is the number of its value in `ATTRIBUTES`, −1 where there is none: a scene of one object has no second
shape, and a sentence may be silent about a size. Objects are numbered from left to right or from top to bottom, however
a sentence turns it: "a star below a red circle" tells of the circle first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from jaxtyping import Int

from jaxgen.core.errors import UsageError

SHAPES = ("circle", "square", "triangle", "star")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple")
SIZES = ("small", "large")
BACKGROUNDS = ("white", "grey", "black")
PLACES = (
    *("top left", "top", "top right", "left", "middle", "right", "bottom left", "bottom", "bottom right"),
    *("row", "column"),
)
"""Where one object stands, row by row; and how several do."""

MOST = 3
"""Objects of a scene."""

OF_OBJECT: Mapping[str, tuple[str, ...]] = MappingProxyType({"shape": SHAPES, "colour": COLOURS, "size": SIZES})
ATTRIBUTES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "objects": ("one", "two", "three"),
        "place": PLACES,
        "background": BACKGROUNDS,
        **{f"{name}_{i}": values for i in range(1, MOST + 1) for name, values in OF_OBJECT.items()},
    }
)
"""The attributes of a scene in the order of their columns, and their values."""

KINDS = ("shape", "colour", "size", "place", "background", "objects")
"""What an attribute is of, with "shape_1", "shape_2" and "shape_3" all "shape"."""

NUMBER = {name: number for number, name in enumerate(ATTRIBUTES)}
SYNONYMS = {"little": "small", "tiny": "small", "big": "large", "gray": "grey", "disk": "circle", "disc": "circle"}
CENTRE = ("middle", "centre", "center")


def kind_of(attribute: str) -> str:
    """Of which of `KINDS` an attribute is.

    >>> kind_of("shape_2"), kind_of("place")
    ('shape', 'place')
    """
    return attribute.partition("_")[0]


def written(attribute: Int[np.ndarray, " a"], draw: np.random.Generator) -> str:
    """A sentence about a scene, in a phrasing that is drawn: it tells every shape and colour and how many objects stand
    where; of the rest it may be silent."""
    scene = {name: int(value) for name, value in zip(ATTRIBUTES, attribute, strict=True)}
    things = [_thing(scene, i, draw) for i in range(1, scene["objects"] + 2)]
    place = PLACES[scene["place"]]
    sentence = _alone(things[0], place, draw) if len(things) == 1 else _several(things, place, draw)
    if draw.random() < 0.5:
        ground = BACKGROUNDS[scene["background"]]
        sentence += _one_of([f" on a {ground} background", f" on {ground}"], draw)
    return sentence


def _thing(scene: Mapping[str, int], number: int, draw: np.random.Generator) -> str:
    shape, colour = SHAPES[scene[f"shape_{number}"]], COLOURS[scene[f"colour_{number}"]]
    size = _one_of([("small", "little"), ("large", "big")][scene[f"size_{number}"]], draw)
    words = [colour, shape] if draw.random() < 0.25 else [size, colour, shape]
    return " ".join(["an" if words[0][0] in "aeiou" else "a", *words])


def _alone(thing: str, place: str, draw: np.random.Generator) -> str:
    where = f"in the {_one_of(CENTRE[:2], draw)}" if place == "middle" else f"at the {place}"
    if " " in place:
        where = _one_of([f"in the {place} corner", f"at the {place}"], draw)
    elif place in ("left", "right"):
        where = _one_of([f"on the {place}", f"at the {place}"], draw)
    return _one_of([f"{thing} {where}", f"{where} is {thing}", f"there is {thing} {where}", thing], draw)


def _several(things: Sequence[str], place: str, draw: np.random.Generator) -> str:
    first, last = things[0], things[-1]
    if len(things) == 2 and place == "column":
        forms = [f"{first} above {last}", f"{last} below {first}", f"{first} over {last}", f"{last} under {first}"]
    elif len(things) == 2:
        forms = [f"{first} to the left of {last}", f"{last} to the right of {first}", f"{first} left of {last}"]
        forms += [f"from left to right {first} and {last}"]
    elif place == "column":
        forms = [f"{things[0]} above {things[1]} above {things[2]}", f"{things[2]} below {things[1]} below {things[0]}"]
        forms += [f"from top to bottom {things[0]}, {things[1]} and {things[2]}"]
    else:
        forms = [f"{things[0]} left of {things[1]} left of {things[2]}"]
        forms += [f"from left to right {things[0]}, {things[1]} and {things[2]}"]
    return _one_of(forms, draw)


def _one_of(forms: Sequence[str], draw: np.random.Generator) -> str:
    return forms[int(draw.integers(len(forms)))]


def said(sentence: str) -> Int[np.ndarray, " a"]:
    """The attributes int32[12] that a sentence tells of a scene, −1 where it is silent.

    Raises `UsageError` for a sentence without a shape, with more than three, or with several and no word for how they
    stand.

    >>> told = said("a small red circle above a blue square")
    >>> [f"{name}: {values[told[i]]}" for i, (name, values) in enumerate(ATTRIBUTES.items()) if told[i] >= 0][:4]
    ['objects: two', 'place: column', 'shape_1: circle', 'colour_1: red']
    """
    words = [SYNONYMS.get(word, word) for word in re.findall(r"[a-z]+", sentence.lower())]
    things: list[dict[str, int]] = []
    pending: dict[str, int] = {}
    for word in words:
        for name, values in OF_OBJECT.items():
            pending |= {name: values.index(word)} if word in values else {}
        if "shape" in pending:
            things.append(pending)
            pending = {}
    if not 1 <= len(things) <= MOST:
        raise UsageError(
            f"a scene has one to {MOST} of {', '.join(SHAPES)}, and the sentence {sentence!r} tells of {len(things)}."
        )
    place, turned = _place(words, len(things), sentence)
    attribute = np.full(len(ATTRIBUTES), -1, np.int32)
    attribute[NUMBER["objects"]] = len(things) - 1
    attribute[NUMBER["place"]] = place
    grounds = [BACKGROUNDS.index(word) for word in words if word in BACKGROUNDS]
    attribute[NUMBER["background"]] = grounds[-1] if grounds else -1
    for i, thing in enumerate(reversed(things) if turned else things, 1):
        for name, value in thing.items():
            attribute[NUMBER[f"{name}_{i}"]] = value
    return attribute


def _place(words: Sequence[str], count: int, sentence: str) -> tuple[int, bool]:
    """The place that the words tell, −1 for none, and whether they tell the objects from the last to the first."""
    if count == 1:
        name = " ".join([w for w in ("top", "bottom") if w in words] + [w for w in ("left", "right") if w in words])
        name = name or ("middle" if any(word in CENTRE for word in words) else "")
        return (PLACES.index(name) if name in PLACES else -1), False
    if "from" in words and "to" in words:
        return PLACES.index("row" if "left" in words else "column"), False
    for place, turned, signs in (
        ("column", False, ("above", "over")),
        ("column", True, ("below", "under", "beneath")),
        ("row", False, ("left",)),
        ("row", True, ("right",)),
    ):
        if any(sign in words for sign in signs):
            return PLACES.index(place), turned
    raise UsageError(
        f"the sentence {sentence!r} tells of {count} objects and not how they stand: say above, below, left of or "
        "right of."
    )
