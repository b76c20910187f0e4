"""Rules about the repository that no linter checks: size, depth, import circles, light imports."""

import ast
import importlib
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"
PACKAGE = SOURCE / "mien"

MAX_LINES = 500
MAX_MODULES = 14
MAX_DEPTH = 2

CODE_SUFFIXES = {".py", ".js", ".css"}
TEXT_SUFFIXES = {".py", ".md", ".toml", ".txt", ".cff", ".yaml", ".yml", ".json", ".jsonl", ".html", ""}
SKIPPED = {".git", ".hypothesis", "runs", "build", "dist", "LICENSE", "__pycache__"}

# Paths of one machine, and unfinished work. In pieces, so that this file does not match itself.
FORBIDDEN = [
    re.compile(r"(?<![\w.])/" + "(work|opt|root|home|mnt|tmp/bash)" + r"/\w"),
    re.compile("PLACE" + "HOLDER"),
    re.compile("TO" + r"DO\b|FIX" + r"ME\b"),
]


def module_files() -> dict[str, Path]:
    """The dotted name of each module of the package, with its file; a package's name is its __init__.py."""
    modules = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return modules


def imports_of(tree: ast.AST, modules: Mapping[str, Path]) -> Iterator[str]:
    """Modules of the package that a module imports anywhere, except under `if TYPE_CHECKING`."""
    pending = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            pending.extend(node.orelse)
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            assert node.level == 0, "imports are absolute"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield from (name for name in (full if full in modules else node.module,) if name in modules)
        pending.extend(ast.iter_child_nodes(node))


def python_of(path: Path) -> Iterator[str]:
    """The code of a Python file, or of each Python block of a page."""
    text = path.read_text(encoding="utf-8")
    yield from [text] if path.suffix == ".py" else re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def import_graph() -> dict[str, set[str]]:
    modules = module_files()
    return {
        name: set(imports_of(ast.parse(path.read_text(encoding="utf-8")), modules)) - {name}
        for name, path in modules.items()
    }


def circles(graph: Mapping[str, set[str]]) -> list[set[str]]:
    """Strongly connected components of more than one node (Tarjan, 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[set[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in sorted(graph[node]):
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            component = set(stack[stack.index(node) :])
            del stack[stack.index(node) :]
            if len(component) > 1:
                found.append(component)

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return found


def test_the_modules_are_found() -> None:
    assert {"mien", "mien.types", "mien.data.emotic.dataset"} <= set(module_files())


def test_a_circle_is_found() -> None:
    graph = {"a": {"b"}, "b": {"c", "d"}, "c": {"a"}, "d": {"d2"}, "d2": set(), "e": {"a"}}
    assert circles(graph) == [{"a", "b", "c"}]


def test_imports_are_read_in_functions_but_not_for_type_checking() -> None:
    code = """
import mien.errors
if TYPE_CHECKING:
    from mien.runs import Manifest
def load():
    from mien.types import Box
    from mien import labels
    import os
"""
    found = set(imports_of(ast.parse(code), module_files()))
    assert found == {"mien.errors", "mien.types", "mien.labels"}


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert [sorted(circle) for circle in circles(import_graph())] == []


def test_no_file_is_too_long() -> None:
    files = [path for path in PACKAGE.rglob("*") if path.suffix in CODE_SUFFIXES]
    assert {path.suffix for path in files} == CODE_SUFFIXES
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert {path.name: length for path, length in lengths.items() if length > MAX_LINES} == {}


def test_no_folder_holds_too_many_modules() -> None:
    folders = {path.parent for path in module_files().values()}
    sizes = {
        folder.relative_to(PACKAGE).as_posix(): sum(
            not path.name.startswith("__") for path in folder.glob("*.py")
        )
        for folder in folders
    }
    assert {name: size for name, size in sizes.items() if size > MAX_MODULES} == {}


def test_no_package_is_too_deep() -> None:
    depths = {name: name.count(".") for name, path in module_files().items() if path.name == "__init__.py"}
    assert {name: depth for name, depth in depths.items() if depth > MAX_DEPTH} == {}


def test_every_module_begins_with_a_docstring() -> None:
    without = [
        name
        for name, path in module_files().items()
        if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert without == []


def test_no_path_of_a_machine_and_no_unfinished_work_is_in_the_tree() -> None:
    texts = [
        path
        for path in ROOT.rglob("*")
        if path.suffix in TEXT_SUFFIXES
        and path.is_file()
        and not any(
            part in SKIPPED or part.startswith(".venv") or part.endswith(("_cache", ".egg-info"))
            for part in path.relative_to(ROOT).parts
        )
    ]
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in texts
        for pattern in FORBIDDEN
        for match in pattern.finditer(path.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_torchvision_is_not_in_the_development_environment() -> None:
    # It does not import next to a CPU build of torch, and transformers then breaks as well.
    assert importlib.util.find_spec("torchvision") is None


@pytest.mark.parametrize("code", ["import mien", "import mien.cli; mien.cli.main(['--help'])"])
def test_import_and_help_load_no_heavy_library(code: str) -> None:
    heavy = {"torch", "transformers", "sklearn", "matplotlib", "pyarrow", "scipy", "numpy", "PIL", "pydantic"}
    script = f"{code}\nimport sys\nprint(sorted({heavy!r} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("folder", ["scripts", "benchmarks", "docs", "."])
def test_names_imported_outside_of_the_package_exist(folder: str) -> None:
    """The type checker sees neither scripts, nor benchmarks, nor the code in pages."""
    files = (ROOT / folder).glob("*.md") if folder == "." else (ROOT / folder).rglob("*.*")
    imports = [
        (path, node.module, alias.name)
        for path in sorted(files)
        if path.suffix in {".py", ".md"}
        for code in python_of(path)
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "mien"
        for alias in node.names
    ]
    modules = module_files()
    missing = [
        f"{path.relative_to(ROOT)}: {module}.{name}"
        for path, module, name in imports
        if f"{module}.{name}" not in modules and not hasattr(importlib.import_module(module), name)
    ]
    assert not missing
