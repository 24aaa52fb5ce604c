"""Run folders: complete, made whole, resumed only by the same program; and `jaxgen.load`."""

import json
import os
import pickle
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from helpers import recipes as face_recipes

import jaxgen
from jaxgen.core.errors import UsageError
from jaxgen.engine.fit import fit
from jaxgen.engine.state import averaged
from jaxgen.runs import recipes
from jaxgen.runs.folder import default_folder, is_run, open_folder, read_run
from jaxgen.runs.load import load
from jaxgen.runs.lock import claimed


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    face_recipes.write(tmp_path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of six steps and what `fit` held at its end."""
    home = tmp_path_factory.mktemp("trained")
    face_recipes.write(home)
    file = recipes.load_file(home / "experiments" / "tiny.py")
    settings = file.settings({"steps": 6})
    made = recipes.build(file, settings)
    open_folder(home / "run", file, settings, {})
    outcome = fit(made, made.data.load(), home / "run")
    return home / "run", outcome


def opened(folder="r", fresh=False, **knobs):
    file = recipes.find("tiny")
    return open_folder(Path(folder), file, file.settings(knobs), {"model": "PixelCNN"}, fresh)


def test_the_default_folder_names_what_was_set():
    file = recipes.find("tiny")
    assert default_folder(file, file.settings({})).as_posix() == "runs/tiny"
    named = default_folder(file, file.settings({"lr": 0.1, "data": "npz:/a b/c.npz", "width": 4}))
    assert named.as_posix() == "runs/tiny-data=npz_a_b_c.npz-lr=0.1"
    long = [default_folder(file, file.settings({"data": "x" * 200 + end})) for end in "ab"]
    assert long[0] != long[1]
    assert len(long[0].name) < 110


def test_a_folder_holds_recipe_local_modules_and_knobs():
    assert opened(width=2) is False
    assert sorted(p.name for p in Path("r/recipe").iterdir()) == ["shared_by_tests.py", "tiny.py"]
    record = read_run("r")
    assert record.settings == {**recipes.find("tiny").defaults, "width": 2}
    assert record.about == {"model": "PixelCNN"}
    assert not list(Path().glob(".*part"))


def test_the_same_program_resumes_and_words_may_change():
    assert opened(width=2) is False
    path = Path("experiments/tiny.py")
    path.write_text(path.read_text().replace("Ours: none", "Ours: 8.5") + "\n# a remark\n")
    assert opened(width=2) is True


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda: opened(width=2, lr=0.5), r"width is 4 there, 2 here; lr is 0\.01 there, 0\.5 here"),
        (lambda: edited("experiments/tiny.py", "samples=8", "samples=16"), r"tiny\.py has changed"),
        (lambda: edited("experiments/shared_by_tests.py", "pass", "return 1"), r"shared_by_tests\.py has changed"),
        (lambda: edited("experiments/tiny.py", "import shared_by_tests", "import shared_by_tests, extra"), "extra"),
    ],
)
def test_another_program_is_refused_with_what_differs(change, message):
    opened()
    Path("experiments/extra.py").write_text("")
    before = sorted(Path("r").rglob("*"))
    with pytest.raises(UsageError, match=rf"^r holds another run: .*{message}.*--fresh"):
        change()
    assert sorted(Path("r").rglob("*")) == before


def edited(path, old, new):
    path = Path(path)
    path.write_text(path.read_text().replace(old, new))
    opened()


def test_another_recipe_is_refused():
    opened()
    file = recipes.find("gan")
    with pytest.raises(UsageError, match="its recipe is tiny, not gan"):
        open_folder(Path("r"), file, file.settings({}), {})


def test_fresh_keeps_the_earlier_run_under_another_name():
    opened(width=2)
    (Path("r") / "precious").write_text("x")
    for expected in ("r.1", "r.2"):
        assert opened(width=3, fresh=True) is False
        assert is_run(expected)
    assert (Path("r.1") / "precious").exists()
    assert read_run("r").settings["width"] == 3


def test_fresh_leaves_a_run_alone_that_is_training():
    opened(width=2)
    with claimed(Path("r")), pytest.raises(UsageError, match="another process is training in r"):
        opened(width=3, fresh=True)
    assert read_run("r").settings["width"] == 2
    assert sorted(p.name for p in Path().iterdir()) == ["experiments", "r"]


def test_other_data_are_refused_when_a_run_goes_on():
    file = recipes.find("tiny")
    about = {"examples": {"train": 90, "valid": 10}, "digest": "00c0ffee"}
    for now, message in (
        ({"examples": {"train": 95, "valid": 5}}, r"r was started on other data: their count of images was .*90.*95"),
        ({"digest": "0badf00d"}, r"their checksum was 00c0ffee, and is 0badf00d\..*--fresh"),
    ):
        open_folder(Path("r"), file, file.settings({}), about)
        with pytest.raises(UsageError, match=message):
            open_folder(Path("r"), file, file.settings({}), about | now)


def test_a_folder_with_something_else_is_left_alone():
    Path("full").mkdir()
    (Path("full") / "thesis.tex").write_text("x")
    for fresh in (False, True):
        with pytest.raises(UsageError, match="full holds something that is no run"):
            opened("full", fresh=fresh)
    with pytest.raises(UsageError, match="is a file"):
        opened("full/thesis.tex")
    Path("empty").mkdir()
    assert opened("empty") is False


def test_a_folder_that_cannot_be_made_whole_is_not_made(monkeypatch):
    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("jaxgen.runs.folder.write_json", full)
    Path("empty").mkdir()
    for name in ("r", "empty"):
        with pytest.raises(OSError, match="No space"):
            opened(name)
    assert sorted(p.name for p in Path().iterdir()) == ["empty", "experiments"]
    assert list(Path("empty").iterdir()) == []


def test_an_empty_folder_that_stands_fast_is_filled(monkeypatch, tmp_path):
    """A mount point, the working directory, a link, a folder in a parent that is not ours: none can be renamed over."""
    for name in ("here", "disk", "behind", "ours"):
        Path(name).mkdir()
    Path("disk/lost+found").mkdir()
    Path("link").symlink_to("behind")
    file = recipes.find("tiny")

    def fast(path, target):
        raise OSError(16, "Device or resource busy", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", fast)
        for name in ("disk", "link", "ours"):
            assert opened(name) is False
        patch.chdir("here")
        assert open_folder(Path(), file, file.settings({}), {}) is False
        assert open_folder(Path(), file, file.settings({}), {}) is True
    for name in ("here", "disk", "behind", "ours"):
        assert read_run(name).settings == file.defaults
    assert Path("link").is_symlink()
    assert not list(Path().rglob("*part"))


def test_a_run_behind_a_link_is_moved_aside_on_its_own_disk():
    Path("disk").mkdir()
    Path("link").symlink_to("disk/run")
    assert opened("link", width=2) is False  # a link to nothing yet
    assert opened("link", fresh=True, width=3) is False
    assert Path("link").resolve() == Path("disk/run").resolve()
    assert read_run("link").settings["width"] == 3
    assert read_run("disk/run.1").settings["width"] == 2
    assert not Path("link.1").exists()


def test_a_folder_that_cannot_be_made_or_moved_is_refused_beforehand(monkeypatch):
    Path("file").write_text("x")
    file = recipes.find("tiny")
    with pytest.raises(UsageError, match=r"file/r cannot be made, .*file is a file: give another folder with --run"):
        opened("file/r")
    opened("there/r")
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda path, mode: Path(path).name != "there")
        with pytest.raises(UsageError, match=r"there/s/t cannot be made, .*there cannot be written to"):
            opened("there/s/t")
        with pytest.raises(UsageError, match=r"--fresh cannot move there/r aside, .*there cannot be written to"):
            opened("there/r", fresh=True)
        assert opened("there/r") is True
    monkeypatch.chdir("there/r")
    with pytest.raises(UsageError, match="aside, it is the working directory"):
        open_folder(Path(), file, file.settings({}), {}, True)


def test_a_disk_without_locks_is_trained_on_all_the_same(monkeypatch, tmp_path):
    import fcntl

    def none(file, how):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    with claimed(tmp_path), claimed(tmp_path):
        pass


def test_one_process_at_a_time_trains_in_a_folder(tmp_path):
    with claimed(tmp_path), pytest.raises(UsageError, match="another process is training"), claimed(tmp_path):
        pass
    with claimed(tmp_path):
        pass


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("nowhere", None, "there is no run nowhere"),
        ("experiments", None, "is no run folder: it has no run.json"),
        ("r", "{", "r cannot be read as a run: run.json is not JSON"),
        ("r", "[]", "run.json is not the record of a run"),
        ("r", '{"format": 99, "recipe": "tiny.py", "knobs": {}}', "format 99, this jaxgen reads 2"),
        ("r", '{"format": 2, "recipe": "tiny.py", "knobs": {"nose": 1}}', "no knob 'nose'"),
    ],
)
def test_what_is_no_run_is_refused(name, content, message):
    opened()
    if content is not None:
        (Path("r") / "run.json").write_text(content)
    with pytest.raises(UsageError, match=message):
        load(name)


def test_loading_needs_a_checkpoint():
    opened()
    with pytest.raises(UsageError, match=r"no checkpoints at .*/r/checkpoints"):
        load("r")


def test_load_gives_the_averaged_variables_of_the_best_step(trained):
    folder, outcome = trained
    last = load(folder, "last")
    assert last.step == 6
    jax.tree.map(np.testing.assert_array_equal, last.variables, averaged(outcome.state))
    raw = load(folder, "last", ema=False)
    jax.tree.map(np.testing.assert_array_equal, raw.variables, outcome.state.variables)
    assert jaxgen.load(folder).step == outcome.best_step
    assert load(folder, 4).step == 4
    with pytest.raises(UsageError, match="no checkpoint of step 5"):
        load(folder, 5)


def test_a_run_is_not_pickled_and_says_what_to_do_instead(trained):
    with pytest.raises(UsageError, match=r"a run cannot be pickled: .*jaxgen\.load\('.*/run', 4\)"):
        pickle.dumps(load(trained[0], 4))


def test_seeds_that_a_key_cannot_hold_are_refused(trained):
    run = load(trained[0])
    image = np.zeros((1, 8, 8, 1), np.uint8)
    for seed in (-1, 2**32, 2**63, True):
        for call in (
            lambda seed: run.sample(1, seed),
            lambda seed: run.complete(image, np.ones((8, 8), bool), seed),
            lambda seed: run.evaluate("valid", seed=seed),
        ):
            with pytest.raises(UsageError, match=r"seed must be a whole number from 0 to 4294967295, got "):
                call(seed)


def test_compiled_functions_are_the_models(trained):
    folder, _ = trained
    loaded = load(folder)
    model, variables, key = loaded.model, loaded.variables, jax.random.key(3)
    drawn = loaded.sample(8, seed=3)
    for i in (0, 5):  # each image has a key of its own
        np.testing.assert_array_equal(drawn[i : i + 1], model.sample(variables, jax.random.fold_in(key, i), 1))
    assert loaded.sample(3, seed=3).shape == (3, 8, 8, 1)
    scores = loaded.log_prob(drawn)
    np.testing.assert_allclose(scores, model.log_prob(variables, drawn, key), rtol=1e-5)
    np.testing.assert_allclose(loaded.log_prob(drawn[:3]), scores[:3], rtol=1e-5)
    given = np.zeros((8, 8), bool)
    given[:4] = True
    done = loaded.complete(drawn, given)
    np.testing.assert_array_equal(done[:, :4], drawn[:, :4])
    assert (done[:, 4:] != drawn[:, 4:]).any()
    actual = loaded.evaluate("valid")
    every = loaded.log_prob(loaded.dataset.valid.image)
    assert actual["nats"] == pytest.approx(-every.mean(), rel=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda r: r.log_prob(np.zeros((2, 9, 8, 1), np.uint8)),
            r"wanted images \[b, 8, 8, 1\], got shape \[2, 9, 8, 1\]",
        ),
        (lambda r: r.log_prob(np.full((2, 8, 8, 1), 17, np.uint8)), "wanted values below 17, got 17"),
        (
            lambda r: r.encode(np.zeros((2, 8, 8, 1), np.uint8)),
            "PixelCNN cannot encode images: .* Models that can: .*VAE",
        ),
        (lambda r: r.evaluate("tset"), "digits has no split 'tset'; it has train, valid, test"),
    ],
)
def test_wrong_images_and_missing_capabilities_are_said(trained, call, message):
    with pytest.raises(UsageError, match=message):
        call(load(trained[0]))


def test_checkpoints_of_another_model_are_refused(trained, tmp_path):
    opened(width=2)
    shutil.copytree(trained[0] / "checkpoints", tmp_path / "r" / "checkpoints")
    with pytest.raises(
        UsageError, match=r"was not written by its recipe's PixelCNN: '.*' is \[.*\] there and \[.*\] in"
    ):
        load("r")


def test_a_run_stands_alone_and_only_its_own_recipe_is_executed(trained, tmp_path, monkeypatch):
    copy = tmp_path / "elsewhere"
    shutil.copytree(trained[0], copy)
    for path in (tmp_path / "experiments").iterdir():
        path.write_text("raise SystemExit('not this one')")
    (tmp_path / "shared_by_tests.py").write_text("raise SystemExit('nor this one')")

    class Bomb:
        def __reduce__(self):
            return (exec, ("raise SystemExit('never')",))

    for name in ("model.pkl", "checkpoints/junk.pkl"):
        (copy / name).write_bytes(pickle.dumps(Bomb()))
    (copy / "recipe" / "unused.py").write_text("raise SystemExit('nor that')")
    monkeypatch.setattr(pickle, "loads", None)
    monkeypatch.setattr(pickle, "load", None)
    before = sorted(p for p in copy.rglob("*"))
    assert load(copy).sample(8).shape == (8, 8, 8, 1)
    assert sorted(p for p in copy.rglob("*")) == before


def test_run_json_is_plain(trained):
    record = json.loads((trained[0] / "run.json").read_text())
    assert record["recipe"] == "tiny.py"
    assert record["knobs"]["steps"] == 6
