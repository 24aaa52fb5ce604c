"""The house's walls: imports go down only, nothing heavy is imported before it is used."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import jaxgen

ROOT = Path(jaxgen.__file__).parent
ROOMS = {
    "errors": 0, "core": 0, "draws": 0, "images": 0, "conditions": 0, "orders": 0,
    "nn": 1, "distributions": 1, "optimizers": 1, "losses": 1, "metrics": 1,
    "models": 2,
    "data": 3, "mesh": 3, "step": 3, "dispatch": 3, "processes": 3, "train": 3, "evaluate": 3, "checkpoint": 3,
    "check": 3, "explore": 3, "trained": 3, "verification": 3, "codec": 3,
    "knobs": 4, "local": 4, "recipe": 4, "run": 4, "report": 4, "bench": 4, "cli": 4, "__main__": 4, "__init__": 4,
    "history": 4, "profiler": 4, "board": 4,
}  # fmt: skip
LAZY = ("tensorboardX", "tensorflow_datasets", "sklearn", "PIL", "rich", "tyro", "torch", "constriction", "matplotlib")


def files():
    return sorted(ROOT.rglob("*.py"))


def room(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(tree):
    """Dotted names that a syntax tree imports, wherever in it."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide which room they enter"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_every_file_has_a_room_and_imports_only_its_own_and_those_below():
    wrong = []
    for path in files():
        here = ROOMS[room(path)]
        for name in imported(ast.parse(path.read_text())):
            parts = name.split(".")
            if parts[0] == "experiments":
                wrong.append(f"{path} imports {name}: recipes are outside of the package's import graph")
            if parts[0] == "jaxgen" and parts[1] in ROOMS and ROOMS[parts[1]] > here:
                wrong.append(f"{path} (room {here}) imports {name} (room {ROOMS[parts[1]]})")
    assert not wrong, "\n".join(wrong)


def test_modules_import_each_other_without_cycles():
    names = {
        ".".join(("jaxgen", *p.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): p for p in files()
    }
    graph = {}
    for name, path in names.items():
        found = imported(ast.Module(_top_level(ast.parse(path.read_text())), []))
        graph[name] = {
            n if n in names else n.rpartition(".")[0] for n in found if n.startswith("jaxgen.")
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
    users = {room(p) for p in files() if any(n.split(".")[0] == "flax" for n in imported(ast.parse(p.read_text())))}
    assert users == {"nn", "models"}


def test_libraries_for_one_purpose_are_imported_only_where_they_are_used():
    for path in files():
        if room(path) == "cli":
            continue  # its modules are themselves imported by the command that needs them
        top = {name.split(".")[0] for name in imported(ast.Module(_top_level(ast.parse(path.read_text())), []))}
        assert not top & set(LAZY), f"{path} imports {top & set(LAZY)} for everyone"


@pytest.mark.parametrize(
    "statement",
    [
        "import jaxgen",
        "import jaxgen.cli; assert jaxgen.cli.main(['--help']) == 0",
        "import jaxgen.cli; assert jaxgen.cli.main(['train', 'digits', '--help']) == 0",
        "import jaxgen.cli; assert jaxgen.cli.main(['list', '--json']) == 0",
        "import jaxgen.cli; assert jaxgen.cli.main(['runs', '.']) == 0",
        "import jaxgen.cli; assert jaxgen.cli.main(['train', 'digits', '--lyers', '3']) == 2",
    ],
)
def test_help_listing_and_usage_errors_import_neither_jax_nor_numpy(statement):
    code = f"{statement}\nimport sys\nassert not {{'jax', 'numpy', 'optax', 'flax'}} & sys.modules.keys()"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, cwd=ROOT.parent)
    assert done.returncode == 0, done.stderr


def test_public_names_are_what_their_modules_define():
    from jaxgen.core import Density
    from jaxgen.run import load

    assert jaxgen.Density is Density
    assert jaxgen.load is load
    assert all(getattr(jaxgen, name) is not None for name in jaxgen.__all__)
    assert set(jaxgen.__all__) <= set(dir(jaxgen))
    with pytest.raises(AttributeError, match="no attribute 'Flow'"):
        _ = jaxgen.Flow
