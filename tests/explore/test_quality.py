"""Samples as a set, beside images: against the metrics by hand, and models of which the answer is known."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from helpers.runs import ONE
from helpers.stand_ins import Untrained

from jaxgen.core.capabilities import Encoder, Features, Sampler
from jaxgen.core.conditions import Classes
from jaxgen.core.errors import UsageError
from jaxgen.core.images import to_float
from jaxgen.data.dataset import Dataset, Split
from jaxgen.explore.quality import check_net, features_of, quality
from jaxgen.explore.trained import Trained
from jaxgen.metrics.frechet import frechet_distance
from jaxgen.metrics.kernel import kernel_distance
from jaxgen.metrics.neighbours import prdc

SHAPE = (2, 2, 1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pixels(Untrained, Features):
    """The features of an image are its pixels, 0 to 1."""

    def features(self, variables, image):
        return to_float(image, self.levels).reshape(len(image), -1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Labels(Untrained, Sampler, Encoder):
    """Draws images that are their label all over, and encodes an image as its first pixel in one-hot form."""

    def sample(self, variables, key, num, condition=None):
        return jnp.broadcast_to(condition[:, None, None, None], (num, *self.shape)).astype(jnp.uint8)

    def encode(self, variables, image, condition=None):
        return jnp.eye(self.levels)[image[:, 0, 0, 0]]


def trained(kind, **settings):
    return Trained(kind(**{"shape": SHAPE, "levels": 4, **settings}), {}, ONE)


def labelled(counts=(60, 20, 40), noise=0.0):
    """Images that are their label all over but for noise; labels 0 to 3 in unequal shares."""
    rng = np.random.default_rng(0)

    def split(count):
        label = np.sort(rng.choice(4, count, p=[0.1, 0.2, 0.3, 0.4])).astype(np.int32)
        image = np.broadcast_to(label[:, None, None, None], (count, *SHAPE))
        wrong = rng.random(image.shape) < noise
        return Split(np.where(wrong, rng.integers(0, 4, image.shape), image).astype(np.uint8), label)

    return Dataset("labelled", 4, *map(split, counts), "made here")


def test_figures_are_the_metrics_of_features_and_their_floor_that_of_training_images():
    data, told = labelled(noise=0.5), []
    actual = quality(
        trained(Labels, condition=Classes(4)), trained(Pixels), data, num=30, seed=3, chunk=7, progress=told.append
    )
    rows, others = (np.linspace(0, count - 1, 30).astype(int) for count in (40, 60))
    images = np.broadcast_to(data.test.label[rows][:, None, None, None], (30, *SHAPE)).astype(np.uint8)
    images = images, data.test.image[rows], data.train.image[others]
    drawn, real, train = (features_of(trained(Pixels), image, 4) for image in images)
    np.testing.assert_allclose(real, images[1].reshape(30, 4) / 3, rtol=1e-6)
    for figures, x in ((actual.figures, drawn), (actual.floor, train)):
        kid = kernel_distance(x, real, 3)
        expected = {"fd": frechet_distance(x, real), "kid": kid.value, "kid_stderr": kid.stderr, **prdc(real, x)}
        assert figures == pytest.approx(expected, rel=1e-9)
    assert (actual.num, actual.split, actual.floor_of, actual.dims) == (30, "test", "train", 4)
    assert told == sorted(told)
    assert told[-1] == 120


def test_labels_are_drawn_in_the_datas_proportions():
    """A model that draws each label's one image is the data themselves then."""
    actual = quality(trained(Labels, condition=Classes(4)), trained(Pixels), labelled(), ("fd", "prdc"))
    assert actual.num == 40
    assert actual.figures["fd"] == pytest.approx(0, abs=1e-9)
    assert actual.figures["precision"] == actual.figures["coverage"] == 1
    assert quality(
        trained(Labels, condition=Classes(4)), trained(Pixels), labelled(), ("fd",), split="train"
    ).floor_of == ("test")


def test_fewer_levels_are_spread_and_other_images_refused():
    net, image = trained(Pixels, levels=256), np.arange(4, dtype=np.uint8).reshape(1, *SHAPE)
    np.testing.assert_allclose(features_of(net, image, 4), features_of(trained(Pixels), image, 4), rtol=1e-6)
    check_net(net, SHAPE, 2)
    with pytest.raises(UsageError, match=r"2×2×1 images of 4 levels, but these are 2×2×1 of 256"):
        check_net(trained(Pixels), SHAPE, 256)
    with pytest.raises(UsageError, match=r"2×2×1 images of 256 levels, but these are 2×3×1 of 2"):
        check_net(net, (2, 3, 1), 2)
    with pytest.raises(UsageError, match="Labels cannot give features of images"):
        check_net(trained(Labels), SHAPE, 4)


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"num": 1}, "fd wants at least 2 images on either side, got 1"),
        ({"num": 3, "metrics": ("kid",)}, "kid wants at least 4"),
        ({"num": 5, "metrics": ("prdc",)}, "prdc wants at least 6"),
        ({"num": 41}, "test of labelled has 40 images, got 41"),
        ({"metrics": ("fid",)}, "there is no metric 'fid'. Did you mean 'fd'"),
        ({"metrics": ()}, "wanted metrics, got none"),
        ({"split": "tset"}, "no split 'tset'"),
    ],
)
def test_what_cannot_be_judged_is_refused(options, part):
    with pytest.raises(UsageError, match=part.replace("(", r"\(")):
        quality(trained(Labels, condition=Classes(4)), trained(Pixels), labelled(), **options)
