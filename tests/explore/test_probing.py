"""Probes: of critics, codes and features whose answer is known, beside pixels that tell nothing."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.runs import ONE
from helpers.stand_ins import Table, Untrained

from jaxgen.core.capabilities import Adversarial, Encoder
from jaxgen.core.errors import UsageError
from jaxgen.data.dataset import Dataset, Split
from jaxgen.explore.probing import critic_features, pooled, probes
from jaxgen.explore.trained import Trained


@dataclasses.dataclass(frozen=True, kw_only=True)
class Critic(Untrained, Adversarial, Encoder):
    """Its only map tells pairs of pixels that differ; its code is the number of white pixels of the first row."""

    shape: tuple[int, int, int] = (1, 8, 1)
    levels: int = 2

    def critic_scores(self, variables, x, condition=None):
        unlike = jax.nn.relu(jnp.abs(x[:, :, 1::2] - x[:, :, ::2]) - 0.5)
        return unlike.sum(axis=(1, 2))

    def encode(self, variables, image, condition=None):
        return jnp.asarray(image, jnp.float32).sum(axis=(1, 2))


def striped(num, seed):
    """Noise, whose pairs of pixels are alike or, where the label is 1, unlike: no single pixel tells the label, and
    neither does their sum."""
    draw = np.random.default_rng(seed)
    label = draw.integers(0, 2, num)
    first = draw.integers(0, 2, (num, 4))
    image = np.stack([first, first ^ label[:, None]], axis=2).reshape(num, 1, 8, 1)
    return Split(image.astype(np.uint8), label.astype(np.int32))


DATA = Dataset("stripes", 2, striped(400, 0), striped(10, 1), striped(300, 2), "noise")


def test_labels_are_read_off_where_they_show_and_nowhere_else():
    """Pairs that differ tell all; chance is the share of the commoner class of training."""
    told = probes(Trained(Critic(), {}, ONE), DATA, num=400, tested=300)
    assert list(told) == ["critic features", "codes", "pixels", "chance"]
    assert [probe.dims for probe in told.values()] == [4, 1, 8, 0]
    assert told["critic features"].percent == 100.0
    assert told["critic features"].stderr == 0.0
    for name in ("pixels", "chance"):
        assert abs(told[name].percent - 50.0) < 4 * 100 * 0.5 / np.sqrt(300)
    share = np.mean(DATA.test.label == np.bincount(DATA.train.label).argmax())
    assert told["chance"].percent == pytest.approx(100 * share)


def test_cells_are_maxima_of_parts_that_cover_the_map():
    """Of sides that they divide each number is in one cell; of others the outer ones are, and none is left out."""
    x = np.random.default_rng(0).normal(size=(2, 8, 12, 3)).astype(np.float32)
    np.testing.assert_array_equal(pooled(jnp.asarray(x)), x.reshape(2, 4, 2, 4, 3, 3).max(axis=(2, 4)))
    for row in range(7):
        spot = np.zeros((1, 7, 3, 1), np.float32)
        spot[0, row, 1] = 1.0
        cells = np.asarray(pooled(jnp.asarray(spot)))
        assert cells.shape == (1, 4, 3, 1)
        covering = [i for i in range(4) if i * 7 // 4 <= row < -(-(i + 1) * 7 // 4)]
        assert np.flatnonzero(cells[0, :, 1, 0]).tolist() == covering


def test_hidden_layers_stand_in_where_there_is_no_map_and_what_has_neither_is_refused():
    dense = lambda x: jax.nn.relu(jax.nn.relu(x.reshape(len(x), -1)).sum(axis=1, keepdims=True) - 1.0)  # noqa: E731
    assert critic_features(dense)(jnp.array([[[[2.0], [-1.0]]]])).tolist() == [[2.0, 0.0, 1.0]]
    with pytest.raises(UsageError, match="behind its ReLUs, and this one has none"):
        critic_features(jnp.tanh)(jnp.zeros((1, 2, 2, 1)))
    with pytest.raises(UsageError, match="Table represents an image by nothing that a label could be read off"):
        probes(Trained(Table(), {}, ONE), DATA)
    with pytest.raises(UsageError, match="test of stripes has 300 images, got 301"):
        probes(Trained(Critic(), {}, ONE), DATA, num=10, tested=301)
