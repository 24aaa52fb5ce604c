"""What a judge counts in scenes: all of it in real ones, no more than chance in those of other sentences."""

import dataclasses

import numpy as np
import pytest
from helpers.runs import ONE

from jaxgen.core.capabilities import Attributes, Features
from jaxgen.core.errors import UsageError
from jaxgen.data.arrays import digits
from jaxgen.data.scene_sentences import ATTRIBUTES
from jaxgen.data.scenes import scenes
from jaxgen.explore.trained import Trained
from jaxgen.metrics.agreement import agreement, chance
from jaxgen.runs import scene_judge
from jaxgen.runs.scene_judge import KINDS, SceneJudge, asked_for

DATA = scenes(size=16, num=40)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Numbered(Attributes, Features):
    """Reads the attributes written into the first pixels of an image, one above each."""

    def init(self, key, batch):
        return {"params": {}}

    def objectives(self):
        return ()

    def read(self, variables, image):
        return image[:, 0, : len(ATTRIBUTES), 0].astype(int) - 1

    def features(self, variables, image):
        return image.reshape(len(image), -1).astype(float)


def test_samples_are_held_against_the_sentences_that_they_were_drawn_by(monkeypatch):
    """Written into pictures: what each sentence asks for, what the next one does, and with every shape wrong."""
    monkeypatch.setattr(
        scene_judge, "_reader", lambda folder: Trained(Numbered(shape=(16, 16, 3), levels=256), {}, ONE)
    )
    judge = SceneJudge(reader="runs/reader", data=DATA, num=6)
    judge.check((16, 16, 3), 256)
    asked = asked_for(DATA.load().valid)

    def judged(attributes):
        image = np.zeros((len(attributes), 16, 16, 3), np.uint8)
        image[:, 0, : len(ATTRIBUTES), 0] = attributes + 1
        return judge.judge(image, image, 256, None)

    rows = np.arange(6) % len(asked)
    assert set(judged(asked[rows]).values()) == {100.0}
    shapes = asked[rows].copy()
    shapes[:, KINDS["shape"]] += shapes[:, KINDS["shape"]] >= 0
    figures = judged(shapes)
    assert figures["shape[reader]"] == figures["everything[reader]"] == 0.0
    assert figures["colour[reader]"] == figures["place[reader]"] == 100.0
    others = judged(asked[(rows + 1) % len(asked)])
    want = agreement(asked[(rows + 1) % len(asked)], asked[rows], KINDS)
    assert others == {f"{name}[reader]": value for name, value in want.items()}
    assert {*others} <= {*judge.figures}


def test_chance_is_that_of_a_value_met_by_another_drawn_alike():
    """Of values that are equally frequent, one in as many."""
    values = np.repeat(np.arange(4), 25)[:, None]
    assert chance(values, values, {"shape": [0]})["shape"] == pytest.approx(100 * 24 / 99)


def test_other_data_are_refused():
    with pytest.raises(UsageError, match="a sentence for each image"):
        asked_for(digits().load().valid)
