"""The house's walls: thirteen rooms in one order, imports go down only, nothing heavy is imported before it is used."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import ROOT

import jaxgen

PACKAGE = Path(jaxgen.__file__).parent
ROOMS = (
    *("core", "maths", "metrics", "pictures", "nn", "models", "data", "engine", "explore", "verification", "codec"),
    *("runs", "cli"),
)
"""A file imports its own room and those before it, nothing else."""

FAMILIES = ("pixel", "latent", "flow", "text", "gan", "energy", "one_image")
"""The same inside `models/`."""

LIGHT = (
    *("core/errors.py", "core/files.py", "runs/folder.py", "runs/lock.py", "runs/log.py", "runs/history.py"),
    *("runs/result.py", "cli/main.py", "cli/flags.py"),
)
"""Files that answer before jax could be imported; those of runs/recipes/ too."""

TWICE = {"base", "programs", "inputs", "progress", "reporter", "report"}
"""Names that files of several rooms may share: they do the same job there."""

LAZY = ("tensorboardX", "tensorflow_datasets", "sklearn", "PIL", "rich", "tyro", "torch", "constriction", "matplotlib")


def files():
    return sorted(path for path in PACKAGE.rglob("*.py") if "_recipes" not in path.parts)


def place(path):
    return path.relative_to(PACKAGE).parts


def imported(tree):
    """Dotted names that a syntax tree imports, wherever in it."""
    actual = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            actual |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide which room they enter"
            actual |= {f"{node.module}.{alias.name}" for alias in node.names}
    return actual


def test_every_file_lies_in_a_room():
    outside = [path for path in files() if place(path)[0] not in ROOMS]
    assert [path.name for path in outside] == ["__init__.py", "__main__.py"]


def test_a_file_imports_only_its_own_room_and_those_before_it():
    wrong = []
    for path in files():
        room, *inner = place(path)
        if room not in ROOMS:
            continue
        for name in imported(ast.parse(path.read_text())):
            first, *parts = name.split(".")
            if first == "experiments":
                wrong.append(f"{path} imports {name}: recipes are outside of the package's import graph")
            if first != "jaxgen" or parts[0] not in ROOMS:
                continue
            if ROOMS.index(parts[0]) > ROOMS.index(room):
                wrong.append(f"{path} imports {name}, of a later room")
            families = [
                where for where in (*inner[:1], *parts[1:2]) if room == parts[0] == "models" and where in FAMILIES
            ]
            if families[1:] and FAMILIES.index(families[1]) > FAMILIES.index(families[0]):
                wrong.append(f"{path} imports {name}, of a later family")
    assert not wrong, "\n".join(wrong)


def test_an_init_hands_on_names_and_defines_nothing():
    for path in files():
        if path.name == "__init__.py" and path.parent != PACKAGE:
            for node in ast.parse(path.read_text()).body:
                told = isinstance(node, ast.Import | ast.ImportFrom) or (
                    isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
                )
                listed = isinstance(node, ast.Assign) and [ast.unparse(t) for t in node.targets] == ["__all__"]
                assert told or listed, f"{path}, line {node.lineno}"


def test_two_files_share_a_name_only_where_they_do_the_same_job():
    seen = {}
    for path in files():
        if path.stem not in ("__init__", "__main__") and "commands" not in path.parts:
            assert path.stem in TWICE or path.stem not in seen, f"{path} and {seen[path.stem]}"
            seen[path.stem] = path


def test_a_command_is_a_file_of_its_name():
    from jaxgen.cli.main import COMMANDS

    assert {path.stem.replace("_", "-") for path in (PACKAGE / "cli/commands").glob("[!_]*.py")} == {*COMMANDS}


def test_tests_have_a_folder_for_every_room():
    assert {*ROOMS} <= {path.name for path in (ROOT / "tests").iterdir() if path.is_dir()}


def test_modules_import_each_other_without_cycles():
    names = {".".join(("jaxgen", *Path(*place(p)).with_suffix("").parts)).removesuffix(".__init__"): p for p in files()}
    graph = {}
    for name, path in names.items():
        actual = imported(ast.Module(_top_level(ast.parse(path.read_text())), []))
        graph[name] = {
            n if n in names else n.rpartition(".")[0] for n in actual if n.startswith("jaxgen.")
        } & names.keys()
    seen, done = [], set()

    def visit(name):
        assert name not in seen, " → ".join([*seen[seen.index(name) :], name])
        if name not in done:
            seen.append(name)
            for other in graph[name] - {name}:
                visit(other)
            done.add(seen.pop())

    for name in graph:
        visit(name)


def _top_level(tree):
    return [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]


def test_flax_lives_in_nn_and_models_only():
    users = {place(p)[0] for p in files() if any(n.split(".")[0] == "flax" for n in imported(ast.parse(p.read_text())))}
    assert users == {"nn", "models"}


def test_libraries_for_one_purpose_are_imported_only_where_they_are_used():
    for path in files():
        if place(path)[0] == "cli" or place(path) in (("pictures", "curves.py"), ("pictures", "scatter.py")):
            continue  # these are themselves imported by the command that needs them
        top = {name.split(".")[0] for name in imported(ast.Module(_top_level(ast.parse(path.read_text())), []))}
        assert not top & set(LAZY), f"{path} imports {top & set(LAZY)} for everyone"


def light(code):
    """Run a program that must import neither jax nor numpy."""
    code += "\nimport sys\nassert not {'jax', 'numpy', 'optax', 'flax'} & sys.modules.keys()"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_files_that_answer_at_once_import_neither_jax_nor_numpy():
    recipes = [str(path.relative_to(PACKAGE)) for path in (PACKAGE / "runs/recipes").glob("*.py")]
    modules = [Path(name).with_suffix("").as_posix().replace("/", ".") for name in (*LIGHT, *recipes)]
    light("\n".join(f"import jaxgen.{name}" for name in modules))


def test_help_listing_and_usage_errors_import_neither_jax_nor_numpy(tmp_path):
    commands = [
        (["--help"], 0),
        (["train", "digits", "--help"], 0),
        (["list", "--json"], 0),
        (["runs", "."], 0),
        (["train", "digits", "--lyers", "3"], 2),
    ]
    calls = "\n".join(f"assert main({args!r}) == {code}" for args, code in commands)
    light(f"from jaxgen.cli.main import main\n{calls}")


def test_public_names_are_what_their_modules_define():
    from jaxgen.core.capabilities import Density
    from jaxgen.runs.load import load

    assert jaxgen.Density is Density
    assert jaxgen.load is load
    assert all(getattr(jaxgen, name) is not None for name in jaxgen.__all__)
    assert set(jaxgen.__all__) <= set(dir(jaxgen))
    with pytest.raises(AttributeError, match="no attribute 'Flow'"):
        _ = jaxgen.Flow
