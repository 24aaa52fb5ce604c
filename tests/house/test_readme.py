"""The README's tables of models say what the models do. Its commands and its Python are run by `test_docs.py`."""

from __future__ import annotations

import dataclasses
import re
import sys

import jax
import numpy as np
import pytest
from contract.zoo import ROWS
from helpers import ROOT
from helpers.pixel import compiled, random_variables

import jaxgen.models
from jaxgen.core.capabilities import CAPABILITIES, Incremental, capabilities
from jaxgen.core.conditions import Classes, Map, Vector
from jaxgen.core.errors import UsageError
from jaxgen.models.pixel.base import PixelModel, raster_context
from jaxgen.models.pixel.gated import GatedPixelCNN
from jaxgen.models.pixel.pixelcnnpp import PixelCNNPlusPlus

README = (ROOT / "README.md").read_text(encoding="utf-8")


def tables() -> list[list[list[str]]]:
    """The README's tables, each as rows of cells without the line below its head."""
    actual = re.findall(r"(?:^\|.*\n)+", README, re.MULTILINE)
    rows = [[[cell.strip() for cell in row.strip("|").split("|")] for row in text.splitlines()] for text in actual]
    return [[head, *rest] for head, _, *rest in rows]


def test_table_of_models_is_what_the_models_say():
    head, *rows = tables()[0]
    assert head[1:] == [c.__name__ for c in CAPABILITIES]
    assert {row[0] for row in rows} == set(jaxgen.models.__all__)
    for name, *cells in rows:
        model = getattr(jaxgen.models, name)
        assert tuple(c for c, cell in zip(head[1:], cells) if cell) == capabilities(model)
        exact = cells[head[1:].index("Density")]
        assert exact == (("exact" if model.exact else "bound") if issubclass(model, jaxgen.Density) else "")


PIXEL_MODELS = {row[0]: dict(zip(tables()[1][0], row)) for row in tables()[1][1:]}


def test_table_of_pixel_models_has_them_all():
    kinds = {name for name in jaxgen.models.__all__ if issubclass(getattr(jaxgen.models, name), PixelModel)}
    assert set(PIXEL_MODELS) == kinds


@pytest.mark.parametrize("name", PIXEL_MODELS)
def test_table_of_pixel_models_is_what_they_do(name):
    """Conditions change the likelihood, orders read the turned image, and what is not ticked is refused."""
    row = PIXEL_MODELS[name]
    plain = next(model for model in ROWS.values() if type(model).__name__ == name and not model.condition)
    plain = dataclasses.replace(plain, shape=(8, 8, plain.shape[2]), dropout=0.0)
    rng = np.random.default_rng(0)
    image = rng.integers(0, plain.levels, (2, *plain.shape)).astype(np.uint8)
    assert row["paper"] in (sys.modules[type(plain).__module__].__doc__ or "")
    whole = bool((plain.context() == raster_context(plain.shape)).all())
    deep = isinstance(plain, GatedPixelCNN | PixelCNNPlusPlus)  # these see everything with enough layers
    assert whole or deep or "before" not in row["sees"]

    def nats(model, variables, image, condition=None):
        return np.asarray(compiled(model, "log_prob")(variables, image, jax.random.key(0), condition))

    ticked = {
        column: row[column] == "yes" for column in ("classes", "vectors, maps", "orders", "cached sampling", "codec")
    }
    assert ticked["codec"] == isinstance(plain, Incremental)
    assert ticked["cached sampling"] == (type(plain).walker is not PixelModel.walker)
    variables = random_variables(plain)
    turned = dataclasses.replace(plain, order="left-up")
    assert ticked["orders"]
    np.testing.assert_allclose(nats(turned, variables, image), nats(plain, variables, image[:, ::-1, ::-1]), rtol=1e-4)
    labels = dataclasses.replace(plain, condition=Classes(3))
    variables = random_variables(labels)
    one, two = (nats(labels, variables, image, np.full(2, label, np.int32)) for label in (0, 2))
    assert ticked["classes"] == bool((one != two).all())
    for kind, shape in ((Vector(2), (2, 2)), (Map(2), (2, 8, 8, 2))):
        if not ticked["vectors, maps"]:
            with pytest.raises(UsageError, match="condition"):
                dataclasses.replace(plain, condition=kind)
            continue
        given = dataclasses.replace(plain, condition=kind)
        values = rng.normal(size=(2, *shape)).astype(np.float32)
        one, two = (nats(given, random_variables(given), image, value) for value in values)
        assert (one != two).all()
