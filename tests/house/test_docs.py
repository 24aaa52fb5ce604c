"""What the documents tell a reader to type: commands name what exists, examples run, links lead somewhere."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import re
import shlex
import tomllib
from pathlib import Path

import numpy as np
import pytest
from helpers import ROOT, recipes
from helpers.cli import after, answered, said

import jaxgen
from jaxgen.cli import flags
from jaxgen.cli.commands import train
from jaxgen.cli.main import COMMANDS
from jaxgen.core.errors import UsageError
from jaxgen.core.images import bits_per_dim

PACKAGE = Path(jaxgen.__file__).parent
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("experiments/**/*.md"))
}
RECIPES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in ROOT.glob("experiments/**/*.py")
    if "\ndef recipe(" in path.read_text(encoding="utf-8")
}
WITH_EXAMPLES = [
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    for path in sorted(PACKAGE.rglob("*.py"))
    if "_recipes" not in path.parts and ">>> " in path.read_text(encoding="utf-8")
]


def blocks(page: str, language: str) -> list[str]:
    """The code blocks of a page in a language, in order."""
    return re.findall(rf"```{language}\n(.*?)```", PAGES[page], re.DOTALL)


def tour(page: str) -> list[str]:
    """The commands of a page's first block."""
    return blocks(page, "sh")[0].splitlines()


def typed(text: str) -> list[str]:
    """The `jaxgen` command lines of a text: in blocks, indented, or inside another command."""
    lines = re.findall(r"^ *(?:\w.* )?(?<!from )(jaxgen \w.*?)(?=\"|    |$)", text, re.MULTILINE)
    return [" ".join(line.split()) for line in lines]


def mentioned(text: str) -> list[str]:
    """Those between backticks, which may leave out what a command wants."""
    return [" ".join(line.split()) for line in re.findall(r"`(jaxgen [a-z][^`]*)`", text)]


TYPED, MENTIONED = (
    sorted({line for text in (*PAGES.values(), *RECIPES.values()) for line in lines(text)})
    for lines in (typed, mentioned)
)


class Parsed(Exception):
    """A command's flags have been read."""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with what the commands' placeholders name."""
    folder = tmp_path_factory.mktemp("docs")
    for name in ("RUN", "runs/small", "runs/on", "runs/independent"):
        (folder / name).mkdir(parents=True)
    write_skeleton(folder)
    return folder


def write_skeleton(folder: Path) -> None:
    (folder / "experiments").mkdir()
    (folder / "experiments/independent.py").write_text(blocks("docs/adding_a_model.md", "python")[0], encoding="utf-8")


def refusal(command: str, args: list[str]) -> str:
    """What a command says of its words, nothing where it takes them; it goes no further than to read them."""
    try:
        importlib.import_module(f"jaxgen.cli.commands.{command.replace('-', '_')}").run(args)
    except Parsed:
        return ""
    except SystemExit as stopped:
        return f"exit {stopped.code}" if stopped.code else ""
    except UsageError as error:
        return str(error)
    return "was not read"


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_commands_exist_and_so_do_their_flags(name, place, monkeypatch, capsys):
    """Every command line of the pages and of the recipes' docstrings is read as its command would read it.

    Of lines about the same thing those whose flags another has too are left out: to read one takes a tenth of a second.
    """
    parse = flags.parse

    def stop(*args, **more):
        parse(*args, **more)
        raise Parsed

    monkeypatch.setattr(flags, "parse", stop)
    monkeypatch.chdir(place)
    assert any(line.split()[1] == name for line in TYPED), f"no page shows how `jaxgen {name}` is used"
    read: list[tuple[str, set[str]]] = []
    for line in sorted((*TYPED, *MENTIONED), key=len, reverse=True):
        command, *args = shlex.split(line, comments=True)[1:]
        about, named = " ".join(args[:1]), {*re.findall(r"--preset \w+|--?[a-z][\w-]*", line)}
        if command != name or {"…", "RECIPE"} & {*args} or any(about == a and named <= n for a, n in read):
            continue
        said = refusal(name, args)
        assert not said or (line in MENTIONED and re.search(r" wants |comes first", said)), f"{line}: {said}"
        read.append((about, named))
    capsys.readouterr()


def test_no_page_names_a_command_that_is_not_there():
    assert {line.split()[1] for line in (*TYPED, *MENTIONED)} <= {*COMMANDS}


def test_python_of_the_readme_on_a_small_run(tmp_path, monkeypatch, capsys):
    """Which stands for the demo's; that, and each command, runs in the tests of the command line."""
    recipes.train(tmp_path, "tiny")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/digits").symlink_to(tmp_path / "tiny")
    capsys.readouterr()

    names: dict[str, object] = {}
    (api,) = blocks("README.md", "python")
    exec(compile(api, "README.md", "exec"), names)
    assert names["image"].shape == (16, 8, 8, 1)  # type: ignore[attr-defined]
    given = names["given"]
    np.testing.assert_array_equal(names["filled"][:, given], names["test"][:, given])  # type: ignore[index]
    printed = [float(word) for word in capsys.readouterr().out.split()]
    assert printed[0] == pytest.approx(printed[1], rel=0.5)
    nats = -names["run"].log_prob(names["test"]).mean()  # type: ignore[attr-defined]
    assert printed[0] == pytest.approx(bits_per_dim(nats, (8, 8, 1)), rel=1e-5)


def test_the_file_to_copy_trains_resumes_samples_and_is_scored(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_skeleton(tmp_path)
    first, sample, evaluate = (shlex.split(line)[1:] for line in tour("docs/adding_a_model.md"))
    with monkeypatch.context() as stopped:
        stopped.setattr(train._Interrupts, "__call__", after(80))
        assert said(capsys, *first)[0] == 130
    result = answered(capsys, *first)
    assert result["step"] == 200
    # The best that independent pixels can do is what counting does.
    assert result["metrics"]["test/bits_per_dim"] == pytest.approx(result["baselines"]["histogram"], abs=0.03)
    low, high = result["expected"]["test/bits_per_dim"]
    assert low < result["metrics"]["test/bits_per_dim"] < high
    scored = answered(capsys, *evaluate)
    assert scored["bits_per_dim"] == pytest.approx(result["metrics"]["test/bits_per_dim"], rel=1e-5)
    code, _, err = said(capsys, *sample)
    assert code == 0, err
    assert (tmp_path / "runs/independent/sample-seed0.png").is_file()


def test_a_transform_may_give_a_batch_its_condition():
    names: dict[str, object] = {}
    (code,) = blocks("docs/data.md", "python")
    exec(compile(code, "data.md", "exec"), names)
    dataset = names["data"].load()  # type: ignore[attr-defined]
    image = dataset.train.image[:3]
    batch = dataset.transform({"image": image}, None, True)
    np.testing.assert_allclose(batch["condition"], image.reshape(3, -1).mean(1, keepdims=True) / 255, rtol=1e-6)


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_of_docstrings_print_what_they_show(name):
    module = importlib.import_module(name)
    failed, tried = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert tried
    assert not failed


@pytest.mark.parametrize("page", PAGES)
def test_links_and_files_that_a_page_names_are_there(page):
    text = PAGES[page]
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert target.startswith("https://") or (ROOT / page).parent.joinpath(target).exists(), target
    for name in re.findall(r"`((?:\w+/)+\w+\.(?:py|md|toml))`", text):
        assert name.startswith("experiments/independent") or any((at / name).is_file() for at in (ROOT, PACKAGE)), name


def test_pages_name_modules_that_are_there():
    for page, text in PAGES.items():
        for dotted in re.findall(r"`(jaxgen(?:\.\w+)+)", text):
            path, _, name = dotted.rpartition(".")
            module = importlib.import_module(path)
            assert hasattr(module, name) or importlib.util.find_spec(dotted), f"{page}: {dotted}"


def test_rooms_and_folders_of_tests_are_the_ones_that_are_there():
    rooms = re.findall(r"^ *\d+  (\w+) ", blocks("docs/architecture.md", "text")[0], re.MULTILINE)
    assert len(rooms) == 13
    assert {*rooms} == {path.parent.name for path in PACKAGE.glob("*/__init__.py")} - {"_recipes"}
    folders = re.findall(r"^\| `(\w+)` \|", PAGES["docs/tests.md"], re.MULTILINE)
    assert {*folders} == {path.name for path in (ROOT / "tests").iterdir() if path.is_dir()} - {
        "helpers",
        "__pycache__",
    }


def test_figures_of_the_results_are_told_in_the_notes():
    """And so are their commands: each opening row is one of the notes."""
    notes = " ".join(text for page, text in PAGES.items() if page.startswith("experiments/notes/"))
    for row in re.findall(r"^\|.*\| `.*` \|$", PAGES["experiments/RESULTS.md"], re.MULTILINE):
        *_, published, ours, command = (cell.strip() for cell in row.strip("|").split("|"))
        for figure in re.findall(r"\*\*[\d.]+\*\*|[\d.]+†", f"{published} {ours}"):
            assert figure in notes, row
        assert command in notes, row


def test_the_wheel_carries_every_recipe():
    table = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = table["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["packages"] == ["jaxgen"]
    for path in RECIPES:
        carried = [source for source in wheel["force-include"] if path == source or path.startswith(f"{source}/")]
        assert len(carried) == 1, path


def test_make_has_the_targets_that_pages_name():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for page, text in PAGES.items():
        for target in re.findall(r"(?:`|^)make (\w+)", text, re.MULTILINE):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"{page}: make {target}"
