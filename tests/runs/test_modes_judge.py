"""The judge of stacked digits counts what a classifier reads, exactly, where it reads without fail."""

import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import pytest
from helpers.runs import ONE
from helpers.stand_ins import Untrained

from jaxgen.core.capabilities import Classifier, Features
from jaxgen.core.errors import UsageError
from jaxgen.explore.trained import Trained
from jaxgen.runs import modes_judge
from jaxgen.runs.modes_judge import ModesJudge, digits_of


@dataclasses.dataclass(frozen=True, kw_only=True)
class Brightness(Untrained, Classifier, Features):
    """The class of an image is its first pixel's value."""

    classes: int = 10

    def class_log_probs(self, variables, image, key):
        return jnp.where(image[:, 0, 0, :1] == jnp.arange(self.classes), 0.0, -jnp.inf)

    def features(self, variables, image):
        return jnp.zeros((len(image), 1))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of a classifier that is never wrong, though its result says that of ten digits one is."""
    net = Trained(Brightness(shape=(2, 3, 1), levels=10), {}, ONE)
    monkeypatch.setattr(modes_judge, "features_run", lambda *_: net)
    modes_judge._net.cache_clear()
    path = tmp_path / "reader"
    path.mkdir()
    (path / "result.json").write_text(json.dumps({"metrics": {"test/error": 10.0}}))
    yield path
    modes_judge._net.cache_clear()


def stacks(label):
    digits = np.asarray(label)[:, None] // [100, 10, 1] % 10
    return np.broadcast_to(digits[:, None, None], (len(digits), 2, 3, 3)).astype(np.uint8)


def test_modes_are_counted_and_the_floor_and_the_accuracy_stand_beside(folder):
    judge = ModesJudge(classifier=str(folder), num=40)
    judge.check((2, 3, 3), 10)
    np.testing.assert_array_equal(
        digits_of(modes_judge._net(str(folder), 80.0), stacks([512, 7]), 10), [[5, 1, 2], [0, 0, 7]]
    )
    told = judge.judge(stacks([0] * 20 + [999] * 10 + [123] * 10), stacks(np.arange(1000)), 10, None)
    assert told["modes[reader]"] == 3
    assert told["kl[reader]"] == pytest.approx(np.log(1000) + 0.5 * np.log(0.5) + 0.5 * np.log(0.25))
    assert 35 <= told["floor_modes[reader]"] <= 40  # of 40 draws of a thousand: few twice
    assert told["floor_kl[reader]"] == pytest.approx(np.log(1000 / 40), abs=0.3)
    assert told["accuracy[reader]"] == pytest.approx(72.9)
    assert {*told} == {*judge.figures}
    assert next(iter(judge.figures.items())) == ("kl[reader]", "lower")
    (folder / "result.json").unlink()
    assert "accuracy[reader]" not in judge.figures


def test_images_that_are_no_stacks_are_refused(folder, monkeypatch):
    judge = ModesJudge(classifier=str(folder))
    with pytest.raises(UsageError, match="a digit in each of three channels, got images with 1"):
        judge.check((2, 3, 1), 10)
    with pytest.raises(UsageError, match="2×3×1 images of 10 levels, but these are 4×3×1"):
        judge.check((4, 3, 3), 10)
    modes_judge._net.cache_clear()
    few = Trained(Brightness(shape=(2, 3, 1), levels=10, classes=4), {}, ONE)
    monkeypatch.setattr(modes_judge, "features_run", lambda *_: few)
    with pytest.raises(UsageError, match=r"wants a classifier of ten digits, and that of .* has 4"):
        judge.check((2, 3, 3), 10)
