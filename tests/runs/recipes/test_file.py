"""Recipes: what is read off their syntax, what is refused, what belongs to them, and that they do not meet."""

import sys
from pathlib import Path
from typing import Literal

import pytest
from helpers import ROOT

from jaxgen.core.errors import UsageError
from jaxgen.runs import recipes
from jaxgen.runs.recipes import sources

BODY = """
from jaxgen import Recipe
from jaxgen.data import digits
from jaxgen.models import PixelCNN
import optax

def recipe(layers: int = 1) -> Recipe:
    model = PixelCNN(shape=(8, 8, 1), levels=17, layers=layers, features=4)
    return Recipe(data=digits(), model=model, optimizer=optax.sgd(0.1), batch=8, steps=1)
"""


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def written(text, path="experiments/a.py"):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_signature_is_read_without_executing_the_file():
    path = written(
        '''"""M on D. P. Ours: 3."""
from typing import Literal
import typing
import nothing_that_exists
WIDTH = 2 * 8
raise RuntimeError("executed")
def recipe(
    a: int = WIDTH,  # how wide # really
    b: float = 1,
    c: bool = False,
    d: "str" = "x",
    e: Literal["u", "v"] = "v",
    f: tuple[int, ...] = (1, 2),
    g: tuple[float, str] = (1.5, "s"),
    h: float | None = None,
    i: typing.Literal[1, 2] = 2,
    *,
    j: int = -400_000,
):
    ...
SMOKE = dict(a=1, f=[3])
EXPECTED = {"test/nats": (1 - 0.5, 80.0)}
'''
    )
    file = recipes.load_file(path)
    kinds = {name: knob.type for name, knob in file.knobs.items()}
    assert kinds == {
        "a": int, "b": float, "c": bool, "d": str, "e": Literal["u", "v"], "f": tuple[int, ...],
        "g": tuple[float, str], "h": float | None, "i": Literal[1, 2], "j": int,
    }  # fmt: skip
    assert file.defaults == {
        "a": 16, "b": 1.0, "c": False, "d": "x", "e": "v", "f": (1, 2), "g": (1.5, "s"), "h": None, "i": 2,
        "j": -400_000,
    }  # fmt: skip
    assert type(file.defaults["b"]) is float
    assert file.knobs["a"].help == "how wide # really"
    assert file.knobs["b"].help == ""
    assert file.smoke == {"a": 1, "f": [3]}
    assert file.settings(file.smoke)["f"] == (3,)
    assert file.expected == {"test/nats": (0.5, 80.0)}


PRESETS = """
BASE = dict(lr=0.5, ema=0.9)
PRESETS = {"wide": BASE | dict(width=64), "long": BASE | dict(steps=9)}
SMOKE = dict(steps=1)
EXPECTED = {"test/nats": (1.0, 2.0), "wide": {"test/nats": (0.5, 1.5)}}
def recipe(width: int = 4, steps: int = 5, lr: float = 0.1): ...
"""


def test_presets_and_smoke_change_defaults_and_what_is_expected():
    file = recipes.load_file(written(PRESETS))
    assert list(file.presets) == ["wide", "long"]
    wide = file.with_preset("wide")
    assert wide.settings({"steps": 7}) == {"width": 64, "steps": 7, "lr": 0.5, "ema": 0.9}  # ema is the engine's
    assert file.settings({}) == {"width": 4, "steps": 5, "lr": 0.1}
    assert wide.expected == {"test/nats": (0.5, 1.5)}
    assert file.with_preset("long").expected == {}
    smoke = wide.with_smoke()
    assert smoke.settings({}) == {"width": 64, "steps": 1, "lr": 0.5, "ema": 0.9}
    assert (file.label, wide.label, smoke.label) == (file.name, f"{file.name}-wide", f"{file.name}-wide-smoke")
    with pytest.raises(UsageError, match=r"has no preset 'wyde'. Did you mean 'wide'\? Its presets: wide, long"):
        file.with_preset("wyde")
    with pytest.raises(UsageError, match="no knob 'widht'"):
        recipes.load_file(written(PRESETS.replace("width=64", "widht=64")))
    with pytest.raises(UsageError, match="SMOKE must be a dict of literals"):
        recipes.load_file(written(PRESETS.replace("dict(steps=1)", "dict(steps=1) | 3")))


def test_headline_is_split_at_on_the_first_full_stop_and_ours():
    path = written(
        '"""Some\nnet on static digits. 1601.06759, table 5: 79.20 nats. Ours: 80.1 nats.\n\nMore on it."""' + BODY
    )
    headline = recipes.load_file(path).headline()
    assert headline == {
        "model": "Some net",
        "data": "static digits",
        "published": "1601.06759, table 5: 79.20 nats",
        "ours": "80.1 nats",
    }
    assert recipes.load_file(written(BODY)).headline() == dict.fromkeys(headline, "")


@pytest.mark.parametrize(
    ("value", "knob", "converted"),
    [
        (1, "float", 1.0),
        (1, "float | None", 1.0),
        (None, "float | None", None),
        ([1, 2], "tuple[int, ...]", (1, 2)),
        ([], "tuple[int, ...]", ()),
        ("a", 'Literal["a"]', "a"),
        (2, "int | str", 2),
    ],
)
def test_values_are_converted_without_loss(value, knob, converted):
    default = {"float": "0.0", "tuple[int, ...]": "(1,)", 'Literal["a"]': "'a'", "int | str": "1"}.get(knob, "None")
    file = recipes.load_file(written(f"from typing import Literal\ndef recipe(k: {knob} = {default}): ..."))
    actual = file.settings({"k": value})["k"]
    assert actual == converted
    assert type(actual) is type(converted)


@pytest.mark.parametrize(
    ("value", "knob"),
    [
        (1.5, "int = 1"),
        (True, "int = 1"),
        ("1", "int = 1"),
        (1, "bool = True"),
        (float("nan"), "float = 1.0"),
        (float("inf"), "float = 1.0"),
        (float("-inf"), "float | None = None"),
        ((1.0, float("inf")), "tuple[float, ...] = ()"),
        ((1, "a"), "tuple[int, ...] = ()"),
        ((1,), "tuple[int, int] = (1, 2)"),
        ("c", 'Literal["a", "b"] = "a"'),
        (None, "str = 'a'"),
    ],
)
def test_values_of_another_type_are_refused_by_name(value, knob):
    file = recipes.load_file(written(f"from typing import Literal\ndef recipe(k: {knob}): ..."))
    with pytest.raises(UsageError, match=r"knob 'k' wants .+, got "):
        file.settings({"k": value})


def test_unknown_knob_lists_the_known_and_the_nearest():
    file = recipes.load_file(written("def recipe(layers: int = 1, lr: float = 1.0): ..."))
    with pytest.raises(
        UsageError, match=r"a has no knob 'lyers'\. Did you mean 'layers'\? Its knobs: layers, lr, seed, clip, "
    ):
        file.settings({"lyers": 3})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", r"is no recipe: it defines no function"),
        ("def recipe(:", r"a\.py, line 1"),
        ("def recipe(a): ...", r"knob 'a' needs a type and a default"),
        ("def recipe(a: int): ...", r"knob 'a' needs a type and a default"),
        ("def recipe(a=1): ...", r"knob 'a' needs a type and a default"),
        ("def recipe(**a): ...", r"cannot take \*args or \*\*kwargs"),
        ("def recipe(a: dict = {}): ...", r"type `dict` is none of int"),
        ("def recipe(a: int = len('x')): ...", r"`len\('x'\)` is no literal"),
        ("def recipe(a: int = 1.5): ...", r"knob 'a' wants int, got 1\.5"),
        ("def recipe(run: str = ''): ...", r"knob 'run' has a name that the command line uses"),
        ("def recipe(a: int = 1): ...\nSMOKE = f()", r"line 2: SMOKE must be a dict of literals"),
        ("def recipe(a: int = 1): ...\nSMOKE = dict(b=1)", r"no knob 'b'"),
    ],
)
def test_files_that_are_no_recipes_say_why(text, message):
    with pytest.raises(UsageError, match=message):
        recipes.load_file(written(text))


def test_recipes_are_found_by_stem_and_by_path_and_those_at_hand_hide_the_wheels():
    written('"""Mine on mine."""\n' + BODY, "experiments/deep/digits.py")
    written("def helper(): ...", "experiments/common.py")
    assert recipes.find("digits").path.parts[-3:] == ("experiments", "deep", "digits.py")
    assert recipes.find("experiments/deep/digits.py").headline()["model"] == "Mine"
    names = [row["name"] for row in recipes.listing()]
    assert names == sorted(set(names))
    assert "common" not in names
    with pytest.raises(UsageError, match=r"no recipe 'digts'\. Did you mean 'digits'\? Known recipes: .*digits"):
        recipes.find("digts")
    with pytest.raises(UsageError, match=r"no recipe file .*nowhere\.py"):
        recipes.find("nowhere.py")
    written(BODY, "experiments/other/digits.py")
    with pytest.raises(UsageError, match="2 recipes are called digits: give the path of one"):
        recipes.find("digits")


@pytest.mark.parametrize("encoding", ["latin-1", "gbk", "utf-8-sig", "utf-8"])
def test_a_recipe_is_text_in_the_encoding_that_it_names_whatever_the_locales(encoding):
    word = "中文" if encoding == "gbk" else "größe"
    cookie = "" if encoding.startswith("utf-8") else f"# -*- coding: {encoding} -*-\n"
    text = cookie + BODY.replace("layers: int = 1", f'layers: int = 1, word: str = "{word}"')
    text = text.replace("return Recipe(", f'assert word == "{word}" and len(word) == {len(word)}\n    return Recipe(')
    path = written("")
    path.write_bytes(text.encode(encoding))
    file = recipes.load_file(path)
    assert file.defaults["word"] == word
    assert recipes.build(file).model.layers == 1


def test_a_recipe_in_no_encoding_is_refused_by_name():
    for content in (b"# coding: nope\n", b"def recipe(): pass  # \xff\n"):
        path = written("")
        path.write_bytes(content)
        with pytest.raises(UsageError, match=r"a\.py(, line \d+)?: .*encoding"):
            recipes.load_file(path)


def test_an_unreadable_recipe_does_not_spoil_the_list():
    written("def recipe(a): ...", "experiments/broken.py")
    rows = {row["name"]: row for row in recipes.listing()}
    assert rows["broken"]["model"].startswith("unreadable: ")


def test_build_gives_the_recipe_with_its_knobs():
    made = recipes.build(recipes.load_file(written(BODY)), {"layers": 2})
    assert made.model.layers == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import nothing_that_exists\n" + BODY, r"a\.py, line 1 failed: ModuleNotFoundError"),
        ("def recipe(a: int = 0):\n    return 1 / a", r"a\.py, line 2 failed: ZeroDivisionError"),
        ("def recipe(a: int = 0):\n    return a", r"must return a jaxgen\.Recipe, got int"),
    ],
)
def test_a_recipe_that_fails_says_where(text, message):
    with pytest.raises(UsageError, match=message):
        recipes.build(recipes.load_file(written(text)))


@pytest.mark.parametrize(("knob", "value"), [("steps", 0), ("steps", -3), ("batch", 0)])
def test_no_steps_and_no_images_are_named_before_the_recipe_is_called(knob, value):
    text = BODY.replace("layers: int = 1", "layers: int = 1, steps: int = 1, batch: int = 8")
    text = text.replace("optax.sgd(0.1)", "optax.sgd(optax.cosine_decay_schedule(8 / batch, steps))")
    file = recipes.load_file(written(text))
    with pytest.raises(UsageError, match=rf"^{knob} must be at least 1, got {value}\.$"):
        recipes.build(file, {knob: value})
    recipes.build(file, {knob: 1})


def test_local_modules_are_those_beside_and_in_the_working_directory_and_what_they_import():
    written("import optax, helper\nfrom package.inner import deep\nimport space.thing\n" + BODY, "experiments/a.py")
    written("import second", "experiments/helper.py")
    written("import json", "experiments/second.py")
    written("", "experiments/unused.py")
    written("", "package/__init__.py")
    written("from . import sibling\nfrom ..cousin import x", "package/inner/__init__.py")
    written("", "package/inner/deep.py")
    written("", "package/inner/sibling.py")
    written("x = 1", "package/cousin.py")
    written("", "space/thing.py")
    written("", "json/__init__.py")
    file = recipes.load_file("experiments/a.py")
    assert sorted(sources.sources(file.path, file.roots)) == [
        "a.py", "helper.py", "package/__init__.py", "package/cousin.py", "package/inner/__init__.py",
        "package/inner/deep.py", "package/inner/sibling.py", "second.py", "space/thing.py",
    ]  # fmt: skip


def test_recipes_with_local_modules_of_one_name_do_not_meet():
    before, modules = list(sys.path), set(sys.modules)
    for folder, layers in (("one", 1), ("two", 2)):
        written(f"LAYERS = {layers}", f"{folder}/shared_name.py")
        text = BODY.replace("layers=layers", "layers=shared_name.LAYERS").replace(
            "import optax", "import optax, shared_name"
        )
        written(text, f"{folder}/a.py")
    one, two = (recipes.build(recipes.load_file(f"{folder}/a.py")) for folder in ("one", "two"))
    assert (one.model.layers, two.model.layers) == (1, 2)
    assert sys.path == before
    assert "shared_name" not in set(sys.modules) - modules
    assert not list(Path().rglob("__pycache__"))


def test_the_same_program_is_told_from_another():
    one = written('"""Doc."""\nx = 1  # why\n', "one.py")
    assert sources.same_code(one, written('"""Other words."""\nx = (1)\n', "two.py"))
    assert sources.same_code(one, written("x = 1\n", "three.py"))
    assert not sources.same_code(one, written('"""Doc."""\nx = 2\n', "four.py"))


def test_engine_settings_are_knobs_of_every_recipe():
    """They reach the recipe whether its signature has them or not, and leave no trace where they are not given."""
    file = recipes.load_file(ROOT / "experiments" / "digits.py")
    made = recipes.build(file, {"seed": 3, "dtype": "bfloat16", "parallel": "pmap", "clip": None, "ema": 0.5})
    assert (made.seed, made.model.dtype, made.parallel, made.clip, made.ema) == (3, "bfloat16", "pmap", 1.0, 0.5)
    assert file.settings({"clip": None}) == file.defaults
    assert file.settings({"seed": 3}) == file.defaults | {"seed": 3}
    with pytest.raises(UsageError, match="'parallel' wants"):
        file.settings({"parallel": "magic"})
    dcgan = recipes.load_file(ROOT / "experiments" / "gan" / "dcgan.py")
    assert recipes.build(dcgan, {"dtype": "bfloat16"}).model.dtype == "bfloat16"
