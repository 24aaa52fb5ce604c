"""A model around a part of another run: trained, recorded, resumed, loaded and scored when that run is gone."""

import dataclasses
import json
import re
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from helpers.cli import after, answered, refused, said
from helpers.runs import assert_equal

import jaxgen
from jaxgen.cli.main import main
from jaxgen.core.errors import UsageError
from jaxgen.runs import recipes
from jaxgen.runs.folder import grafted_run, open_folder, read_run
from jaxgen.runs.grafts import read

VAE = '''"""Tiny VAE on digits. 0000.00000: none. Ours: none."""
import optax
from jaxgen import VAE, Recipe, digits


def recipe(hidden: int = 6, steps: int = 4) -> Recipe:
    model = VAE(shape=(8, 8, 1), levels=17, latent=3, hidden=(hidden,))
    every = dict(evaluate_every=2, save_every=2, samples=0)
    return Recipe(data=digits(), model=model, optimizer=optax.adam(1e-2), batch=8, steps=steps, ema=0.5, **every)
'''
PROBE = '''"""Linear classifier on digits. 0000.00000: none. Ours: none."""
import dataclasses

import jax.numpy as jnp
import optax

import jaxgen


@dataclasses.dataclass(frozen=True, kw_only=True)
class Probe(jaxgen.Scored):
    """Classes from the codes of an encoder that stays as it is."""

    body: jaxgen.VAE

    def init(self, key, batch):
        encoder = self.body.init(key, batch)["params"]["encoder"]
        return {"params": {"head": jnp.zeros((self.body.latent, 10))}, "frozen": {"encoder": encoder}}

    def objectives(self):
        return (jaxgen.Objective("class", self._loss, trains=("head",)),)

    def _loss(self, variables, batch, key):
        loss = self.scores(variables, batch, key)["loss"].mean()
        return loss, jaxgen.Aux({})

    def scores(self, variables, batch, key):
        code = self.body.encode({"params": variables["frozen"]}, batch["image"])
        logits = code @ variables["params"]["head"]
        return {"loss": optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"])}


def recipe(of: str = "vae", take: str = "params/encoder", hidden: int = 0, steps: int = 4) -> jaxgen.Recipe:
    body = jaxgen.model_of(of)
    return jaxgen.Recipe(
        data=jaxgen.digits(),
        model=Probe(body=dataclasses.replace(body, hidden=(hidden,)) if hidden else body),
        optimizer=optax.adam(1e-1),
        batch=8,
        steps=steps,
        evaluate_every=2,
        save_every=2,
        grafts=(jaxgen.Graft(run=of, take=take, put="frozen/encoder"),),
    )
'''


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A VAE; a probe on it, and the same one that was stopped before its end."""
    home = tmp_path_factory.mktemp("grafts")
    (home / "vae.py").write_text(VAE)
    (home / "probe.py").write_text(PROBE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        assert main(["train", "vae.py", "--run", "vae"]) == 0
        assert main(["train", "probe.py", "--run", "probe"]) == 0
        patch.setattr("jaxgen.cli.commands.train._Interrupts.__call__", after(3))
        assert main(["train", "probe.py", "--run", "stopped"]) == 130
    return home


@pytest.fixture
def runs(trained, tmp_path, monkeypatch):
    """A copy in which one may delete."""
    monkeypatch.chdir(shutil.copytree(trained, tmp_path / "runs"))


def graft_of(run):
    return json.loads((Path(run) / "run.json").read_text())["grafts"]


def test_the_part_is_that_of_the_best_step_and_stays_as_it_is(runs):
    vae, probe = jaxgen.load("vae"), jaxgen.load("probe")
    assert_equal(probe.variables["frozen"], {"encoder": vae.variables["params"]["encoder"]})
    assert np.abs(probe.variables["params"]["head"]).max() > 0
    fresh = jax.jit(probe.model.init)(jax.random.key(0), {"image": np.zeros((8, 8, 8, 1), np.uint8)})
    with pytest.raises(AssertionError):
        assert_equal(probe.variables["frozen"], fresh["frozen"])


def test_the_record_names_run_step_and_digest(runs):
    (graft,) = graft_of("probe")
    digest, step = graft.pop("digest"), jaxgen.load("vae").step
    assert graft == {"run": "vae", "take": "params/encoder", "put": "frozen/encoder", "step": step}
    assert len(digest) == 8
    assert graft_of("stopped")[0]["digest"] == digest
    record = read_run("probe")
    made = recipes.build(record.file, record.settings)
    for step, same in (("best", True), (2, False)):
        (_, (again,)) = read(dataclasses.replace(made, grafts=(dataclasses.replace(made.grafts[0], step=step),)))
        assert again == graft | {"step": again["step"], "digest": again["digest"]}
        assert (again["digest"] == digest) == same == (again["step"] == graft["step"])


def test_a_run_goes_on_and_is_used_when_the_other_is_gone(runs, capsys, monkeypatch):
    whole = jaxgen.load("probe", "last")
    shutil.rmtree("vae")
    assert said(capsys, "train", "probe.py", "--run", "stopped")[0] == 0
    assert_equal(jaxgen.load("stopped", "last").variables, whole.variables)
    assert "there is no run vae" in refused(capsys, "train", "probe.py", "--run", "new")
    Path("away").mkdir()
    monkeypatch.chdir("away")
    actual = answered(capsys, "evaluate", "../probe")
    assert actual["loss"] == pytest.approx(jaxgen.load("../stopped").evaluate()["loss"])
    assert answered(capsys, "inspect", "../probe")["modules"] == {"head": {"parameters": 30, "bytes": 120}}


def test_a_run_keeps_the_model_that_it_was_trained_with(runs):
    path = Path("vae", "run.json")
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"knobs": record["knobs"] | {"hidden": 5}}))
    assert jaxgen.model_of("vae").hidden == (5,)
    assert jaxgen.load("probe").model.body.hidden == (6,)


@pytest.mark.parametrize(
    ("knobs", "parts"),
    [
        (["--take", "params/nothing"], ["vae has no 'params/nothing': params of it has decoder, encoder"]),
        (["--take", "params/decoder"], ["the graft does not fit: 'frozen/encoder/", "is [3, 6] there and [64, 6] in"]),
        (["--hidden", "7"], ["the graft does not fit: 'frozen/encoder/", "is [6] there and [7] in the model"]),
        (["--of", "nowhere"], ["there is no run nowhere"]),
    ],
    ids=["missing", "other", "shapes", "run"],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(knobs, parts, runs, capsys):
    said_of = refused(capsys, "train", "probe.py", "--run", "new", *knobs)
    assert all(part in said_of for part in parts), said_of


def test_models_around_models_keep_all_of_them(tmp_path, monkeypatch):
    """c builds on b, which builds on a: c's folder is enough."""
    monkeypatch.chdir(tmp_path)
    Path("a.py").write_text(VAE)
    for name, other, factor in (("b", "a", 2), ("c", "b", 3)):
        around = f'dataclasses.replace(jaxgen.model_of("{other}"), latent={factor} * jaxgen.model_of("{other}").latent)'
        text = VAE.replace("import optax", "import dataclasses\nimport jaxgen\nimport optax")
        Path(f"{name}.py").write_text(re.sub("model = .*", f"model = {around}", text))
    for name in "abc":
        asked = {}
        file = recipes.load_file(f"{name}.py")
        recipes.build(file, file.settings({}), asked)
        open_folder(Path(name), file, file.settings({}), {}, asked=asked)
    for name in "ab":
        shutil.rmtree(name)
        with pytest.raises(UsageError, match=f"there is no run {name}"):
            jaxgen.model_of(name)
    assert jaxgen.model_of("c").latent == 18
    record = read_run("c")
    asked = {}
    recipes.build(record.file, record.settings, asked)
    assert asked == {"b": grafted_run(Path("c"), "b")}
    assert recipes.execution.get() is None
