"""What the README tells a reader to type is typed here: its commands, its Python, and its table of models."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

import jaxgen.models
from jaxgen import core
from jaxgen.cli import main
from jaxgen.images import bits_per_dim
from jaxgen.recipe import find

ROOT = Path(__file__).parent.parent
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
    start, commands, data, own = blocks("sh")
    api, model = blocks("python")
    assert [line.split("#")[0].strip() for line in start.splitlines()] == list(LEFT_OUT)

    for command in commands.splitlines():
        run(command, capsys)
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
    train, sample = own.splitlines()
    result = json.loads(run(f"{train} --json", capsys))
    # The best that independent pixels can do is what counting does.
    assert result["metrics"]["test/bits_per_dim"] == pytest.approx(result["baselines"]["histogram"], abs=0.03)
    run(sample, capsys)

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


def test_table_of_models_is_what_the_models_say():
    table = [[cell.strip() for cell in row.strip("|").split("|")] for row in README.splitlines() if row.startswith("|")]
    head, _, *rows = table
    assert head[1:] == [c.__name__ for c in core.CAPABILITIES]
    assert {row[0] for row in rows} == set(jaxgen.models.__all__)
    for name, *cells in rows:
        model = getattr(jaxgen.models, name)
        assert tuple(c for c, cell in zip(head[1:], cells) if cell) == core.capabilities(model)
        if cells[0]:
            assert cells[0] == ("exact" if model.exact else "bound")


def test_links_and_pictures_are_there():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_commands_of_the_makefile_and_recipes_that_the_readme_names():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`?make (\w+)", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
