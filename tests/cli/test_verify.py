"""`jaxgen verify`: recipes and runs that pass, a faulty one that fails with a picture, what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers import recipes as face_recipes

from jaxgen.cli.main import main
from jaxgen.verification.picture import COLOURS

LEAKY = '''"""Leaky on digits. Unpublished. Ours: none."""
import dataclasses
import jax.numpy as jnp
import numpy as np
import optax
from jaxgen import Autoregressive, Aux, Objective, Recipe, digits


@dataclasses.dataclass(frozen=True, kw_only=True)
class Leaky(Autoregressive):
    """Sees its left neighbour, and, if it leaks, the pixel below; declares the left one."""

    below: float = 0.0

    def init(self, key, batch):
        return {"params": {"left": jnp.ones((self.levels,)), "below": jnp.zeros((self.levels,))}}

    def objectives(self):
        def loss(variables, batch, key):
            nats = -self.log_prob(variables, batch["image"], key).mean()
            return nats, Aux({"nats": nats})

        return (Objective("likelihood", loss, ("left", "below")),)

    def logits(self, variables, x, condition=None):
        left = jnp.pad(x, ((0, 0), (0, 0), (1, 0), (0, 0)))[:, :, :-1]
        below = jnp.pad(x, ((0, 0), (0, 1), (0, 0), (0, 0)))[:, 1:]
        params = variables["params"]
        return left[..., None] * params["left"] + self.below * below[..., None] * params["below"]

    def context(self):
        h, w, _ = self.shape
        seen = np.zeros((h * w, h * w), bool)
        places = [i for i in range(h * w) if i % w]
        seen[places, [i - 1 for i in places]] = True
        return seen.reshape(h, w, 1, h, w, 1)


def recipe(below: float = 0.0) -> Recipe:
    model = Leaky(shape=(8, 8, 1), levels=17, below=below)
    return Recipe(data=digits(), model=model, optimizer=optax.sgd(0.1), batch=8, steps=1)
'''


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    face_recipes.write(tmp_path)
    Path("experiments/leaky.py").write_text(LEAKY)


def said(capsys, *args):
    """Exit code, standard output and standard error of one command."""
    capsys.readouterr()
    code = main([str(arg) for arg in args])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def read(path):
    from PIL import Image

    return np.asarray(Image.open(path))


def test_a_model_that_is_right_passes_and_leaves_nothing(capsys):
    before = sorted(Path().rglob("*"))
    code, out, err = said(capsys, "verify", "leaky")
    assert code == 0
    assert out.splitlines()[0].split() == ["check", "result", "worst", "detail"]
    assert "a hole (3,924 of 4,005 pairs, at most 88 of one sub-pixel)" in out  # 81 of 90 pixels have a left neighbour
    assert out.rstrip().endswith("Leaky: all that it offers holds")
    assert [line for line in out.splitlines() if "FAILED" in line] == []
    assert "frequencies     not offered" in out
    assert "checking normalisation" in err
    assert sorted(p for p in Path().rglob("*") if "__pycache__" not in str(p)) == before


def test_a_leak_fails_names_its_pair_and_is_drawn(capsys):
    """Its weight starts at zero: only random weights show it."""
    code, out, _ = said(capsys, "verify", "leaky", "--below", "1")
    assert code == 1
    row = next(line for line in out.splitlines() if line.startswith("causality"))
    place = [tuple(map(int, part.split(","))) for part in row.replace(")", "(").split("(")[1:4:2]]
    assert place[1] == (place[0][0] + 1, place[0][1], 0)
    assert f"verify-leaky.png: what {place[0]} sees" in out
    page = read("verify-leaky.png")
    cell = page.shape[0] // 9
    r, c, _ = place[1]
    assert tuple(page[r * cell + cell // 2, c * cell + cell // 2]) == COLOURS["leak"]


def test_json_says_the_same_and_the_picture_goes_where_it_is_wanted(capsys):
    code, out, _ = said(capsys, "verify", "leaky", "--json", "-o", "seen.png")
    actual = json.loads(out)
    assert (code, actual["ok"], actual["model"], actual["picture"]) == (0, True, "Leaky", "seen.png")
    assert {check["name"]: check["passed"] for check in actual["checks"]}["calibration"] is None
    assert read("seen.png").ndim == 3
    code, out, _ = said(capsys, "verify", "leaky", "--below", "1", "--json")
    actual = {check["name"]: check for check in json.loads(out)["checks"]}
    assert code == 1
    assert actual["causality"]["passed"] is False
    (r, c, k), below = actual["causality"]["worst"]
    assert below == [r + 1, c, k]
    assert json.loads(out)["picture"] == "verify-leaky.png"


def test_a_run_is_verified_with_its_trained_weights(capsys):
    assert main(["train", "leaky", "--run", "runs/leaky"]) == 0
    code, out, _ = said(capsys, "verify", "runs/leaky", "--json", "-o", "seen.png")
    actual = {check["name"]: check for check in json.loads(out)["checks"]}
    assert code == 0, out
    assert actual["full size, trained"]["passed"]
    assert "8×8×1" in actual["full size, trained"]["detail"]
    assert {name for name, check in actual.items() if check["passed"] is None} == {
        *("as trained", "frequencies", "calibration", "independence", "cached = naive"),
    }


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        (["verify"], ["the recipe comes first"]),
        (["verify", "nowhere"], ["no recipe 'nowhere'", "Known recipes:"]),
        (["verify", "experiments"], ["experiments is no run folder"]),
        (["verify", "gan"], ["DCGAN cannot be verified by its likelihood", "PixelCNN"]),
        (["verify", "tiny", "-o", "seen.jpg"], ["--output", "ends in .png", "seen.jpg"]),
        (["verify", "tiny", "-o", "nowhere/seen.png"], ["its folder is not there"]),
        (["verify", "tiny", "--jsn"], ["no flag --jsn", "Did you mean '--json'?"]),
    ],
)
def test_what_is_refused_is_refused_in_one_sentence(capsys, args, parts):
    code, out, err = said(capsys, *args)
    assert (code, out) == (2, "")
    assert err.startswith("jaxgen: ")
    assert err.count("\n") == 1
    assert all(part in err for part in parts), err
