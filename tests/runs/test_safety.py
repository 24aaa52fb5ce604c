"""What comes from others is data: nothing in a run's folder, a data file or a picture is executed, but its recipe."""

import ast
import contextlib
import io
import json
import os
import pickle
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from helpers import recipes as face_recipes

import jaxgen
from jaxgen.cli.main import main
from jaxgen.data.cache import cached
from jaxgen.runs import recipes
from jaxgen.runs.folder import differences, read_run
from jaxgen.runs.load import load
from jaxgen.runs.log import open_log, read_log

ROOT = Path(jaxgen.__file__).parent
MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "marshal", "shelve", "joblib", "yaml", "torch"}
CALLS = {"eval", "exec", "compile", "__import__", "execfile"}
READS_TENSORS = "data/torch_file.py"
"""The one file with an unpickler, of its own, which makes nothing but tensors (`tests/data/test_torch_file.py`)."""
EXECUTES = "runs/recipes/build.py"
"""The one file that executes another: the recipe that the user names, or that lies in the run."""


OPENED = {"os.open", "Image.open", "tarfile.open", "program.open"}
"""What opens something else than text."""


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JAXGEN_CACHE", str(tmp_path / "cache"))
    face_recipes.write(tmp_path)


@pytest.fixture
def mark(tmp_path):
    """What no test may create."""
    mark = tmp_path / "executed"
    pickle.loads(pickle.dumps(Bomb(mark)))
    assert mark.is_dir(), "the bomb is none"
    mark.rmdir()
    yield mark
    assert not mark.exists(), "something was executed"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A trained run."""
    home = tmp_path_factory.mktemp("trained")
    face_recipes.write(home)
    assert main(["train", str(home / "experiments" / "tiny.py"), "--run", str(home / "run"), "--steps", "2"]) == 0
    return home / "run"


def bombs(mark, count=4):
    actual = np.empty(count, object)
    actual[:] = [Bomb(mark) for _ in range(count)]
    return actual


def sentence(*args):
    """The one sentence of a command that fails."""
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        assert main([str(arg) for arg in args]) in (1, 2)
    last = errors.getvalue()
    assert last.startswith("jaxgen: ")
    assert last.count("\n") == 1
    assert "Traceback" not in last
    return last


# --- the package ---------------------------------------------------------------------------------------------------


def test_the_package_loads_no_pickle_and_executes_nothing_but_recipes():
    wrong, loads = [], 0
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            here = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
                known = {"pickle"} if path == ROOT / READS_TENSORS else set()
                wrong += [f"{here} imports {name}" for name in names if name.split(".")[0] in MODULES - known]
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            executes = path == ROOT / EXECUTES and called in ("exec", "compile")
            if called in CALLS and not executes:
                wrong.append(f"{here} calls {called}")
            safe = any(k.arg == "allow_pickle" and ast.unparse(k.value) == "False" for k in node.keywords)
            if called.split(".")[-1] in ("load", "open_memmap") and called.split(".")[0] in ("np", "numpy"):
                loads += 1
                wrong += [] if safe or "open_memmap" in called else [f"{here} loads without allow_pickle=False"]
            if called.endswith(("read_pickle", "fetch_openml", "fetch_olivetti_faces", "fetch_lfw_people")):
                wrong.append(f"{here} calls {called}, which unpickles")
            if called == "Image.open" and not any(k.arg == "formats" for k in node.keywords):
                wrong.append(f"{here} opens pictures of any format, PostScript among them")
    assert loads >= 3
    assert wrong == []


def test_text_is_read_and_written_in_one_encoding_whatever_the_locales():
    """A file opened as text without `encoding` means something else to each user."""
    wrong = []
    for path in sorted([*ROOT.rglob("*.py"), *(ROOT.parent / "experiments").rglob("*.py")]):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called, keywords = ast.unparse(node.func), {k.arg for k in node.keywords}
            binary = called in OPENED or any(ast.unparse(a) in ("'rb'", "'wb'", "'ab'", "'r+b'") for a in node.args)
            opens = called.split(".")[-1] in ("open", "fdopen") and not binary
            text = opens or called.split(".")[-1] in ("read_text", "write_text")
            if (text or ("subprocess" in called and "text" in keywords)) and "encoding" not in keywords:
                wrong.append(f"{path}:{node.lineno} {called}")
    assert wrong == []


# --- data and pictures ---------------------------------------------------------------------------------------------


def hostile_npz(mark):
    np.savez("hostile.npz", train=bombs(mark), image=bombs(mark), test=bombs(mark))
    return Path("hostile.npz")


def test_an_npz_of_objects_is_refused_as_data_and_as_images(trained, mark):
    file = hostile_npz(mark)
    for args in (
        ["data", "show", f"npz:{file}"],
        ["train", "tiny", "--data", f"npz:{file}", "--run", "r"],
        ["evaluate", trained, "--data", f"npz:{file}"],
        ["complete", trained, "--images", f"npz:{file}"],
    ):
        assert "hostile.npz: cannot be read as .npz of plain arrays" in sentence(*args), args
    assert not Path("r").exists()


def test_an_npz_with_a_member_that_is_no_array_is_refused(trained, mark):
    with zipfile.ZipFile("raw.npz", "w") as archive:
        archive.writestr("train.pkl", pickle.dumps(Bomb(mark)))
        archive.writestr("train", pickle.dumps(Bomb(mark)))
    assert "cannot be read as .npz of plain arrays" in sentence("data", "show", "npz:raw.npz")


def test_a_cache_entry_of_objects_is_made_again(mark):
    def fill(allocate):
        allocate("a", (2,), np.uint8)[:] = 7

    assert cached("name", [1], fill)["a"].tolist() == [7, 7]
    (file,) = Path("cache").rglob("*.npy")
    np.save(file, bombs(mark), allow_pickle=True)
    assert cached("name", [1], fill)["a"].tolist() == [7, 7]


@pytest.mark.parametrize("key", ["pythonClassName", "python_class_name", "\\u0070ythonClassName"])
def test_a_prepared_data_set_imports_no_module_that_it_names(mark, monkeypatch, key):
    home = Path("tfds/named/1.0.0")
    home.mkdir(parents=True)
    Path("its_own.py").write_text(f"import os\nos.mkdir({str(mark)!r})\n")
    monkeypatch.syspath_prepend(str(Path().absolute()))
    monkeypatch.setenv("TFDS_DATA_DIR", "tfds")
    (home / "features.json").write_text(f'{{"{key}": "its_own.Feature"}}')
    (home / "dataset_info.json").write_text('{"name": "named", "version": "1.0.0", "fileFormat": "array_record"}')
    assert "found 'its_own.Feature', which is not executed" in sentence("data", "show", "tfds:named")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_a_picture_is_what_its_format_says_and_no_program(trained, mark, suffix):
    """PostScript under another name would be handed to an interpreter; a pickle is no picture either."""
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n(executed) (w) file closefile showpage\n"
    for name, content in (("page", script), ("pickle", pickle.dumps(Bomb(mark)))):
        file = Path(name + suffix)
        file.write_bytes(content)
        for args in (["complete", trained, "--images", file], ["complete", trained, "--keep", file]):
            assert f"{file}: cannot be decoded as a picture" in sentence(*args)
        Path(name).mkdir(exist_ok=True)
        file.rename(Path(name) / file)
        assert "cannot be decoded as a picture" in sentence("data", "show", f"folder:{name}")


# --- a run's folder ------------------------------------------------------------------------------------------------


def copied(trained, name="copy"):
    shutil.copytree(trained, name)
    return Path(name)


def test_a_hostile_log_is_passed_over(trained, mark):
    folder = copied(trained)
    log = folder / "metrics.jsonl"
    good = read_log(log)
    junk = [
        "[" * 100_000,
        '{"step": {"a": 1}}',
        '{"step": 1e999}',
        "__import__('os').mkdir('executed')",
        "\0",
        "9" * 9999,
    ]
    log.write_bytes(log.read_bytes() + "\n".join(junk).encode() + b"\n" + pickle.dumps(Bomb(mark)) + b"\n")
    assert read_log(log) == good
    open_log(log, 10**9).close()
    assert read_log(log) == good
    assert main(["list"]) == 0


@pytest.mark.parametrize(
    "content",
    [
        "[" * 100_000,
        '{"format": 2, "recipe": "../../elsewhere.py", "knobs": {}}',
        '{"format": 2, "recipe": "ELSEWHERE", "knobs": {}}',
        '{"format": 2, "recipe": "..", "knobs": {}}',
        '{"format": 2, "recipe": ["tiny.py"], "knobs": {}}',
        '{"format": 2, "recipe": "tiny.py", "knobs": [1]}',
        '{"format": 2, "recipe": "tiny.py", "knobs": {"width": "__import__(\'os\').mkdir(\'executed\')"}}',
        '{"format": [], "recipe": "tiny.py", "knobs": {}}',
        "\0",
    ],
)
def test_a_hostile_record_is_refused_and_names_no_code_elsewhere(trained, mark, content):
    folder = copied(trained)
    elsewhere = Path("elsewhere.py").absolute()
    elsewhere.write_text(f"import os\nos.mkdir({str(mark)!r})\n" + Path("experiments/tiny.py").read_text())
    (folder / "run.json").write_text(content.replace("ELSEWHERE", str(elsewhere)))
    for command in ("sample", "evaluate", "inspect"):
        sentence(command, folder)


def test_reading_and_listing_execute_nothing(trained, mark):
    """The recipe of a run is executed when its model is asked for, not before."""
    folder = copied(trained)
    for file in (*(folder / "recipe").iterdir(), *Path("experiments").glob("*.py")):
        head, quotes, rest = file.read_text().rpartition('"""\n')
        file.write_text(f"{head}{quotes}import os\nos.makedirs({str(mark)!r}, exist_ok=True)\n{rest}")
    record = read_run(folder)
    assert record.settings["steps"] == 2
    assert recipes.find("tiny").name == "tiny"
    assert {"tiny", "gan"} <= {row["name"] for row in recipes.listing()}
    assert differences(record, record.file, record.settings) == []
    for args in (["list"], ["list", "--json"], ["train", "tiny", "--help"], ["train", str(folder), "--help"]):
        main(args)
    assert not mark.exists()
    load(folder)
    mark.rmdir()  # so the bomb works


def test_a_file_that_is_no_python_is_listed_all_the_same():
    Path("experiments/null.py").write_bytes(b"def recipe(): pass\0\n")
    Path("experiments/bytes.py").write_bytes(b"def recipe(): pass  # \xff\n")
    Path("experiments/deep.py").write_text("def recipe(a=" + "(" * 5000 + ")" * 5000 + "): pass\n")
    rows = {row["name"]: row for row in recipes.listing()}
    for name in ("null", "bytes", "deep"):
        assert name in rows
        assert f"{name}.py" in sentence("train", name)


def test_pickles_in_a_run_are_never_opened(trained, mark):
    folder = copied(trained)
    for name in ("model.pkl", "recipe/knobs.pkl", "checkpoints/2/state/a.pkl", "checkpoints/junk", "samples/x.npy"):
        (folder / name).write_bytes(pickle.dumps(Bomb(mark)))
    np.save(folder / "checkpoints" / "2" / "x.npy", bombs(mark), allow_pickle=True)
    assert load(folder).sample(2).shape == (2, 8, 8, 1)
    content = json.loads((folder / "run.json").read_text())
    assert content["recipe"] == "tiny.py"
