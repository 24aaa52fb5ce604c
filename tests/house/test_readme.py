"""What the README tells a reader to type is typed here: its commands, its Python, and its table of models."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from contract.zoo import ROWS
from helpers import ROOT
from helpers.pixel import random_variables

import jaxgen.models
from jaxgen.cli.main import main
from jaxgen.core.capabilities import CAPABILITIES, Incremental, capabilities
from jaxgen.core.conditions import Classes, Map, Vector
from jaxgen.core.errors import UsageError
from jaxgen.core.images import bits_per_dim
from jaxgen.models.pixel.base import PixelModel, raster_context
from jaxgen.models.pixel.gated import GatedPixelCNN
from jaxgen.models.pixel.pixelcnnpp import PixelCNNPlusPlus
from jaxgen.runs.recipes.find import find

README = (ROOT / "README.md").read_text()
LEFT_OUT = ("make demo", "make test")  # .ci/run runs these


def blocks(language: str) -> list[str]:
    """The code blocks of the README in a language, in order."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def run(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Run a `jaxgen` command line in this process; gives standard output."""
    program, *args = shlex.split(command, comments=True)
    assert program == "jaxgen", command
    code = main(args)
    said = capsys.readouterr()
    assert code == 0, f"{command}: {said.err}"
    return said.out


def test_commands_and_python(tmp_path, monkeypatch, capsys):
    """In the README's order, since later ones use what earlier ones made."""
    monkeypatch.chdir(tmp_path)
    start, commands, more, data, own = blocks("sh")
    api, model = blocks("python")
    assert [line.split("#")[0].strip() for line in start.splitlines()] == list(LEFT_OUT)

    for command in (commands + more).splitlines():
        run(command, capsys)
    with np.load("digits.npz") as found:
        np.testing.assert_array_equal(found["image"], jaxgen.load("runs/small").dataset.test.image)
    assert Path("growing.gif").is_file()
    assert (tmp_path / "runs/small/sample-seed0.png").is_file()

    names: dict[str, object] = {}
    exec(compile(api, "README.md", "exec"), names)
    assert names["image"].shape == (16, 8, 8, 1)  # type: ignore[attr-defined]
    given = names["given"]
    np.testing.assert_array_equal(names["filled"][:, given], names["test"][:, given])  # type: ignore[index]
    printed = [float(word) for word in capsys.readouterr().out.split()]
    assert printed[0] == pytest.approx(printed[1], rel=0.5)
    nats = -names["run"].log_prob(names["test"]).mean()  # type: ignore[attr-defined]
    assert printed[0] == pytest.approx(bits_per_dim(nats, (8, 8, 1)), rel=1e-5)

    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments/independent.py").write_text(model)
    train, sample, compare = own.splitlines()
    result = json.loads(run(f"{train} --json", capsys))
    # The best that independent pixels can do is what counting does.
    assert result["metrics"]["test/bits_per_dim"] == pytest.approx(result["baselines"]["histogram"], abs=0.03)
    run(sample, capsys)
    assert "Independent" in run(compare, capsys)
    assert Path("compare.png").is_file()

    listing, prepare, show, train = data.splitlines()
    run(listing, capsys)
    (tmp_path / "FOLDER").mkdir()
    assert main(shlex.split(prepare)[1:]) == 2  # the original files, whose checksums TFDS knows, are not at hand here
    assert "train-images-idx3-ubyte.gz" in capsys.readouterr().err
    write_idx(tmp_path / "FOLDER")
    assert "28×28×1" in run(show, capsys)
    rng = np.random.default_rng(0)
    bits = {
        s: rng.integers(0, 2, (n, 28, 28, 1)).astype(np.uint8) for s, n in (("train", 16), ("valid", 8), ("test", 8))
    }
    np.savez(tmp_path / "images.npz", **bits)
    smoke = " ".join(f"--{k.replace('_', '-')} {v}" for k, v in find("diagonal_mnist").smoke.items())
    run(f"{train.replace('PATH', 'images.npz')} {smoke}", capsys)


def write_idx(folder: Path) -> None:
    """A small data set in MNIST's format."""
    for name, count in (("train", 12), ("t10k", 4)):
        image = np.zeros((count, 28, 28), np.uint8)
        header = b"\0\0\x08\x03" + b"".join(int(n).to_bytes(4, "big") for n in image.shape)
        (folder / f"{name}-images-idx3-ubyte").write_bytes(header + image.tobytes())
        labels = bytes(count)
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01" + count.to_bytes(4, "big") + labels)


def tables() -> list[list[list[str]]]:
    """The README's tables, each as rows of cells without the line below its head."""
    found = re.findall(r"(?:^\|.*\n)+", README, re.MULTILINE)
    rows = [[[cell.strip() for cell in row.strip("|").split("|")] for row in text.splitlines()] for text in found]
    return [[head, *rest] for head, _, *rest in rows]


def test_table_of_models_is_what_the_models_say():
    head, *rows = tables()[0]
    assert head[1:] == [c.__name__ for c in CAPABILITIES]
    assert {row[0] for row in rows} == set(jaxgen.models.__all__)
    for name, *cells in rows:
        model = getattr(jaxgen.models, name)
        assert tuple(c for c, cell in zip(head[1:], cells) if cell) == capabilities(model)
        if cells[0]:
            assert cells[0] == ("exact" if model.exact else "bound")


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
        return np.asarray(jax.jit(model.log_prob)(variables, image, jax.random.key(0), condition))

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


def test_links_and_pictures_are_there():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_commands_of_the_makefile_and_recipes_that_the_readme_names():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`?make (\w+)", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
