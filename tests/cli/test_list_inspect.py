"""What the command line shows before anything is trained: recipes, data, models, the cost of a step, help."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from helpers import recipes as face_recipes
from helpers.cli import said

from jaxgen.cli import flags
from jaxgen.cli.main import COMMANDS, main
from jaxgen.core.errors import UsageError
from jaxgen.runs.recipes.knobs import RESERVED


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    face_recipes.write(tmp_path)


def test_list_shows_what_the_docstrings_say(capsys):
    rows = {row["name"]: row for row in json.loads(said(capsys, "list", "--json")[1])}
    tiny = {k: rows["tiny"][k] for k in ("model", "data", "published", "ours")}
    assert tiny == {"model": "Tiny PixelCNN", "data": "digits", "published": "0000.00000: 9 bits/dim", "ours": "none"}
    assert "Tiny DCGAN" in said(capsys, "list")[1]


def test_data_commands(capsys):
    assert "digits" in said(capsys, "data", "list")[1]
    assert "tfds:mnist" in json.loads(said(capsys, "data", "list", "--json")[1])["forms"]
    actual = json.loads(said(capsys, "data", "show", "digits", "-o", "d.png", "--json")[1])
    assert actual["splits"]["test"]["count"] == 360
    assert actual["shape"] == [8, 8, 1]
    assert Path("d.png").is_file()
    assert "17 levels" in said(capsys, "data", "show", "digits")[1]
    assert "prepare" in said(capsys, "data", "--help")[1]
    np.savez("maps.npz", train=np.ones((20, 4, 4, 1), np.uint8), train_condition=np.zeros((20, 4, 4, 2)))
    actual = json.loads(said(capsys, "data", "show", "maps.npz", "--json")[1])
    assert actual["splits"]["valid"]["condition"] == [4, 4, 2]
    assert "conditions of 4×4×2" in said(capsys, "data", "show", "maps.npz")[1]


def test_bench_prints_and_gives_json(capsys):
    from jaxgen.engine import bench

    actual = json.loads(said(capsys, "bench", "tiny", "--json")[1])
    assert actual["ms_per_step"] > 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench, "measure", lambda made: actual)
        assert said(capsys, "bench", "tiny")[1] == bench.describe(actual)


def test_a_recipe_may_call_a_knob_depth(capsys):
    path = Path("experiments/tiny.py")
    path.write_text(path.read_text().replace("    width: int = 4", "    depth: int = 4").replace("=width", "=depth"))
    shallow, deep = (json.loads(said(capsys, "inspect", "tiny", "--depth", n, "--json")[1]) for n in (4, 8))
    assert shallow["parameters"] < deep["parameters"]
    assert len(json.loads(said(capsys, "inspect", "tiny", "--table-depth", 1, "--json")[1])["modules"]) == len(
        {name.split("/")[0] for name in shallow["modules"]}
    )


def test_no_knob_can_have_the_name_of_a_commands_flag(monkeypatch):
    """Every flag of every command that takes a recipe is reserved, and nothing is that no command has."""
    kinds = []

    def asked(kind, args, prog):
        kinds.append(kind)
        raise UsageError("asked")

    monkeypatch.setattr(flags, "with_recipe", asked)
    takers = [name for name, (args, _) in COMMANDS.items() if args.startswith("RECIPE")]
    assert [main([name, "tiny"]) for name in takers] == [2] * len(takers)
    assert len(kinds) == len(takers) > 0
    names = {field.name for kind in kinds for field in dataclasses.fields(kind)}
    assert set(RESERVED) == names | {"recipe", "debug", "help", "preset", "smoke"}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name, capsys):
    code, out, err = said(capsys, name, "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"usage: jaxgen {name}")


def test_help_shows_commands_and_a_recipes_knobs(capsys):
    out = said(capsys, "--help")[1]
    assert all(name in out for name in COMMANDS)
    out = said(capsys, "train", "tiny", "--help")[1]
    assert "--width INT" in out
    assert "where from (default: digits)" in out
    assert "Tiny PixelCNN on digits." in out
    assert said(capsys, "--version")[1].startswith("jaxgen ")
    assert said(capsys)[0] == 2
