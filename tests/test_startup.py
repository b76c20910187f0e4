"""The garbage collector pauses while modules are loaded: in mien's processes, and only there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

MODULES = {
    "outer.py": "import gc, inner\nduring = gc.isenabled(), inner.during\nmade = [[] for _ in range(9**5)]\n",
    "inner.py": "import gc\nduring = gc.isenabled()\n",
    "broken.py": "import gc, inner\nduring = gc.isenabled()\nraise OSError('broken')\n",
    "package/__init__.py": "",
    "package/part.py": "import gc\nduring = gc.isenabled()\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in MODULES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def run(folder: Path, code: str, *, paused: bool = True) -> list[str]:
    begin = "from mien.startup import pause_collector_during_imports as pause; pause(); pause()\n"
    done = subprocess.run(
        [sys.executable, "-c", f"import gc\n{begin if paused else ''}{code}"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_the_collector_pauses_during_an_import_and_what_was_loaded_is_frozen(folder: Path) -> None:
    code = "before = gc.get_freeze_count()\nimport outer\nprint(*outer.during, gc.isenabled())\n"
    assert run(folder, code) == ["False", "False", "True"]
    assert run(folder, code, paused=False) == ["True", "True", "True"]
    code += "print(gc.get_freeze_count() - before > 20_000)"
    assert run(folder, code)[-1] == "True"


def test_it_also_pauses_during_late_imports_of_submodules(folder: Path) -> None:
    code = """
from importlib import import_module
def late():
    return import_module("package.part").during
print(late(), gc.isenabled())
"""
    assert run(folder, code) == ["False", "True"]


def test_stretches_of_mien_pause_the_collector_in_its_own_processes_only(folder: Path) -> None:
    code = """
from mien.startup import pause_collector
with pause_collector():
    during = gc.isenabled()
print(during, gc.isenabled())
"""
    assert run(folder, code) == ["False", "True"]
    assert run(folder, code, paused=False) == ["True", "True"]


def test_the_collector_is_on_again_after_an_import_that_fails(folder: Path) -> None:
    code = """
for name in ("broken", "no_such_module", "package.no_such_part"):
    try:
        __import__(name)
    except (OSError, ImportError) as error:
        print(type(error).__name__, gc.isenabled())
"""
    names = ["OSError", "ModuleNotFoundError", "ModuleNotFoundError"]
    assert run(folder, code) == [word for name in names for word in (name, "True")]


def test_modules_keep_their_loaders(folder: Path) -> None:
    code = """
import importlib.util, inspect
print(type(importlib.util.find_spec("inner").loader.get_code("inner")).__name__)
import inner, outer, json.tool, zlib, package
loaded = [inner, outer, json.tool, zlib, package]
print(*{type(module.__spec__.loader).__name__ for module in loaded} - {"SourceFileLoader"})
print(inspect.getsource(outer).split()[0], importlib.reload(outer).during[0], gc.isenabled())
"""
    native = ["ExtensionFileLoader", "BuiltinImporter", "type"]  # zlib is built in on some machines
    code_name, *names, first, during, after = run(folder, code)
    assert (code_name, first, during, after) == ("code", "import", "False", "True")
    assert set(names) <= set(native)


def test_a_collector_that_is_off_stays_off(folder: Path) -> None:
    assert run(folder, "gc.disable(); import outer; print(gc.isenabled())") == ["False"]


COMMAND = """
import sys
from mien.cli import main
sys.argv = ["mien", "--version"]
code = main({arguments})
print(code, gc.isenabled(), sum(type(finder).__module__ == "mien.startup" for finder in sys.meta_path))
"""


@pytest.mark.parametrize(("arguments", "finders"), [("", "1"), ("['--version']", "0")])
def test_a_command_pauses_the_collector_but_a_library_does_not(
    folder: Path, arguments: str, finders: str
) -> None:
    assert run(folder, COMMAND.format(arguments=arguments), paused=False)[-3:] == ["0", "True", finders]


def test_checking_the_size_of_a_model_does_not_import_the_compiler_of_torch(folder: Path) -> None:
    code = """
import sys
from torch import nn
from mien.weights.build_limits import check_size
check_size(lambda: (nn.Embedding(3, 4), nn.init.normal_(nn.Linear(4, 4).weight)), [12, 16])
print("torch._dynamo" in sys.modules)
"""
    assert run(folder, code) == ["False"]
