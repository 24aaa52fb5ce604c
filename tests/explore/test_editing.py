"""Projection and edits of a linear generator, of which least squares knows the answer, and layers as they are read."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.runs import ONE
from helpers.stand_ins import Table, Untrained
from PIL import Image

from jaxgen.core.capabilities import Latent
from jaxgen.core.errors import UsageError
from jaxgen.core.images import from_float
from jaxgen.data.layer import read_layer
from jaxgen.explore.editing import CLOSENESS, Editor, Stroke, data_term
from jaxgen.explore.trained import Trained
from jaxgen.maths.edges import cell_of, outlines, pooled

SHAPE = (6, 6, 1)
W = 2 * np.linalg.qr(np.random.default_rng(0).standard_normal((36, 3)))[0].T.astype(np.float32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Linear(Untrained, Latent):
    """Images ½ + zW, rounded to levels."""

    def prior(self, key, num):
        return jax.random.normal(key, (num, 3))

    def decode(self, variables, z, condition=None):
        return from_float((0.5 + z @ variables["w"]).reshape(len(z), *self.shape), self.levels)


@pytest.fixture(scope="module")
def editor():
    return Editor(Trained(Linear(shape=SHAPE, levels=256), {"w": W}, ONE), starts=8)


def test_a_picture_is_brought_to_its_least_squares(editor):
    """Of a picture that the generator cannot draw; none of the starts is near it."""
    image = np.random.default_rng(1).integers(90, 160, SHAPE).astype(np.uint8)
    expected = np.linalg.lstsq(W.T, image.reshape(-1) / 255 - 0.5, rcond=None)[0]
    np.testing.assert_allclose(editor.project(image), expected, atol=0.01)


def test_a_stroke_and_the_code_that_it_began_at_are_weighed(editor):
    """Colour under alpha and closeness to the start are both squares: their minimum is that of a linear system."""
    draw = np.random.default_rng(2)
    colour, alpha = (
        draw.integers(0, 256, SHAPE).astype(np.uint8),
        draw.random(SHAPE[:2]) * (draw.random(SHAPE[:2]) < 0.4),
    )
    start = np.array([0.1, -0.2, 0.05], np.float32)
    weight, wanted = 4.0 * alpha.reshape(-1) / alpha.sum(), colour.reshape(-1) / 255 - 0.5
    pull = CLOSENESS / 3 / editor.spread**2
    expected = np.linalg.solve((W * weight) @ W.T + pull * np.eye(3), (W * weight) @ wanted + pull * start)
    edited = editor.edit([Stroke(colour, alpha)], start)
    np.testing.assert_allclose(edited.before, start, atol=1e-6)
    np.testing.assert_allclose(edited.after, expected, atol=0.01)
    losses = [(weight * (code @ W - wanted) ** 2).sum() for code in (start, edited.after)]
    np.testing.assert_allclose([edited.loss_before, edited.loss_after], losses, rtol=1e-4)
    assert np.abs(expected - start).max() > 0.03
    np.testing.assert_array_equal(
        editor.pictures(edited.after[None]), editor.model.decode({"w": W}, jnp.asarray(edited.after[None]))
    )


def test_brushes_ask_for_colours_outlines_or_both():
    x, colour = jax.random.uniform(jax.random.key(3), (2, 3, *SHAPE))
    colour, alpha = colour[0], jnp.zeros(SHAPE[:2]).at[1:3, 2:5].set(1.0)
    cell = cell_of(SHAPE)
    share = pooled(alpha[None, ..., None], cell)[..., 0]

    def apart(wanted):
        difference = ((outlines(x, cell) - outlines(wanted, cell)) ** 2).sum(axis=-1)
        return (difference * share).sum(axis=(1, 2)) / share.sum()

    of_colour = (4 * ((x - colour) ** 2)[:, 1:3, 2:5]).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(data_term(x, colour, alpha, "colour"), of_colour, rtol=1e-5)
    np.testing.assert_allclose(data_term(x, colour, alpha, "sketch"), apart(alpha[None, ..., None]), rtol=1e-5)
    dragged = apart(jnp.where(alpha[..., None] > 0, colour, x))
    np.testing.assert_allclose(data_term(x, colour, alpha, "warp"), of_colour + dragged, rtol=1e-5)
    assert data_term(jnp.where(alpha[..., None] > 0, colour, x), colour, alpha, "warp") == pytest.approx(0, abs=1e-5)


def test_layers_are_read_as_they_are_drawn(tmp_path):
    pixels = np.random.default_rng(4).integers(1, 256, (3, 4, 4)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "layer.png")
    colour, alpha = read_layer(tmp_path / "layer.png", (3, 4, 3))
    np.testing.assert_array_equal(colour, pixels[..., :3])
    np.testing.assert_allclose(alpha, pixels[..., 3] / 255)
    Image.fromarray(pixels[..., :3]).save(tmp_path / "opaque.png")
    Image.fromarray(pixels * np.uint8([1, 1, 1, 0])).save(tmp_path / "clear.png")
    for name, shape, part in (
        ("opaque", (3, 4, 3), "wanted a layer with alpha"),
        ("layer", (4, 4, 1), "the layer is 3×4, the model's images are 4×4: draw it in that size"),
        ("clear", (3, 4, 3), "transparent all over"),
        ("none", (3, 4, 3), "there is no file"),
        ("layer", (3, 4, 2), "1 or 3 channels, these have 2"),
    ):
        with pytest.raises(UsageError, match=part):
            read_layer(tmp_path / f"{name}.png", shape)


def test_what_cannot_be_edited_is_said(editor):
    stroke = Stroke(np.zeros(SHAPE, np.uint8), np.ones(SHAPE[:2]))
    for strokes, part in (
        ([], "wanted a stroke or more"),
        ([dataclasses.replace(stroke, brush="oil")], "there is no brush 'oil'"),
        ([Stroke(np.zeros((2, 2, 1), np.uint8), np.ones((2, 2)))], r"wanted strokes over images \[6, 6, 1\]"),
        ([dataclasses.replace(stroke, alpha=np.zeros((6, 6)))], "transparent all over"),
    ):
        with pytest.raises(UsageError, match=part):
            editor.edit(strokes)
    with pytest.raises(UsageError, match="Table cannot be edited by strokes"):
        Editor(Trained(Table(), {}, ONE))
    with pytest.raises(UsageError, match="at least 1 start"):
        Editor(editor.trained, starts=0)
