"""A recipe's own code: the local modules that it imports, how they are imported, and whether two files agree.

Local is what lies in the recipe's `roots`, the folders that come first on the path while it is executed: its own folder
and, outside a run, the working directory. They are found by reading the imports, never by executing anything.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.machinery
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

from jaxgen.core.errors import UsageError


def parse(path: Path) -> tuple[ast.Module, str]:
    """Syntax tree and text of a Python file. Raises `UsageError` where it is missing or is none."""
    if not path.is_file():
        raise UsageError(f"there is no recipe file {path}; `jaxgen list` shows the recipes that are known.")
    try:
        source = path.read_bytes()  # in the encoding that the file itself names, as Python reads it
        return ast.parse(source, str(path)), importlib.util.decode_source(source)
    except SyntaxError as error:
        line = f", line {error.lineno}" if error.lineno else ""  # an encoding that is none has no line
        raise UsageError(f"{path}{line}: {error.msg}.") from error
    except (ValueError, RecursionError, MemoryError) as error:  # no text, null bytes, nesting too deep
        raise UsageError(f"{path} is not a Python file: {error or type(error).__name__}.") from error


def sources(main: Path, roots: tuple[Path, ...]) -> dict[str, Path]:
    """The recipe's file and the local modules that it imports, directly or through one another.

    Keys are the paths, relative to one folder, under which the copies import each other as the originals do.
    """
    files: dict[str, Path] = {main.name: main}
    todo = [(main, "")]
    while todo:
        path, package = todo.pop()
        for dotted in _imported(parse(path)[0], package):
            for name, place, inside in _located(dotted, roots):
                if name not in files:
                    files[name] = place
                    todo.append((place, inside))
    return files


def same_code(one: Path, other: Path) -> bool:
    """Whether two files hold the same program: comments, layout and the module's docstring aside."""
    return _program(one) == _program(other)


@contextlib.contextmanager
def importing(main: Path, roots: tuple[Path, ...]) -> Iterator[None]:
    """Imports find the recipe's local modules first, afresh, and leave neither them nor bytecode behind.

    Two runs whose recipes import different modules of one name can so be loaded into one process.
    """
    names = {Path(name).parts[0].removesuffix(".py") for name in sources(main, roots)} - {main.stem}
    kept = {name: sys.modules.pop(name) for name in [*sys.modules] if name.partition(".")[0] in names}
    path, bytecode = list(sys.path), sys.dont_write_bytecode
    sys.path[:0] = [str(root) for root in roots]
    sys.dont_write_bytecode = True
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:], sys.dont_write_bytecode = path, bytecode
        for name in [name for name in sys.modules if name.partition(".")[0] in names]:
            del sys.modules[name]
        sys.modules.update(kept)


def _imported(tree: ast.Module, package: str) -> set[str]:
    """Dotted names of all that a module may import, relative ones made absolute."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".") if package else []
                base = ".".join([*parents[: len(parents) - node.level + 1], *([base] if base else [])])
            names.update({base} | {f"{base}.{alias.name}" if base else alias.name for alias in node.names})
    return names - {""}


def _located(dotted: str, roots: tuple[Path, ...]) -> Iterator[tuple[str, Path, str]]:
    """(relative path, file, package) of each local module on the way to a dotted name; nothing if it is not local."""
    parts = dotted.split(".")
    if parts[0] == "jaxgen" or parts[0] in sys.stdlib_module_names:
        return
    for root in roots:
        if not _is_local(parts[0], root):
            continue
        for i in range(1, len(parts) + 1):
            inside = Path(*parts[:i])
            if (root / inside / "__init__.py").is_file():
                yield str(inside / "__init__.py"), root / inside / "__init__.py", ".".join(parts[:i])
            elif (root / inside.with_suffix(".py")).is_file():
                yield str(inside.with_suffix(".py")), root / inside.with_suffix(".py"), ".".join(parts[: i - 1])
        return


def _is_local(name: str, root: Path) -> bool:
    """Whether `import name` finds a module under `root`, were that first on the path; a bare folder comes last."""
    if (root / f"{name}.py").is_file() or (root / name / "__init__.py").is_file():
        return True
    elsewhere = importlib.machinery.PathFinder.find_spec(name)
    return (root / name).is_dir() and (elsewhere is None or elsewhere.origin is None)


def _program(path: Path) -> str:
    tree, _ = parse(path)
    if ast.get_docstring(tree, clean=False) is not None:
        del tree.body[0]
    return ast.dump(tree)
