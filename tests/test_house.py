"""Rules of the house that no linter knows."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAX_LINES = 300

CODE = sorted(
    path for folder in ("src", "tests", "scripts", "benchmarks") for path in (ROOT / folder).rglob("*.py")
)
TEXT_SUFFIXES = {".py", ".md", ".toml", ".txt", ".cff", ".yaml", ".yml", ".json", ".jsonl", ".html", ""}
SKIPPED = {".git", ".venv", ".hypothesis", "runs", "build", "dist", "LICENSE", "__pycache__"}

# What belongs to one machine, not to the project. In pieces, so that this file is not found by itself.
FORBIDDEN = [
    re.compile(r"(?<![\w.])/" + "(work|opt|root|home|mnt|tmp/bash)" + r"/\w"),
    re.compile("PLACE" + "HOLDER"),
    re.compile("TO" + r"DO\b|FIX" + r"ME\b"),
]


def texts() -> list[Path]:
    return [
        path
        for path in ROOT.rglob("*")
        if path.is_file()
        and path.suffix in TEXT_SUFFIXES
        and not any(
            part in SKIPPED or part.endswith(("_cache", ".egg-info")) for part in path.relative_to(ROOT).parts
        )
    ]


def test_the_code_is_found() -> None:
    assert ROOT / "src" / "mien" / "types.py" in CODE


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_is_longer_than_a_sitting(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


def test_every_module_says_what_it_is_for() -> None:
    package = (path for path in CODE if path.is_relative_to(ROOT / "src"))
    assert [path for path in package if not path.read_text(encoding="utf-8").startswith('"""')] == []


def test_nothing_of_one_machine_and_nothing_unfinished_is_in_the_tree() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in texts()
        for pattern in FORBIDDEN
        for match in pattern.finditer(path.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_torchvision_is_not_in_the_development_environment() -> None:
    # Beside a CPU torch it does not import, and transformers then breaks as well.
    assert importlib.util.find_spec("torchvision") is None


@pytest.mark.parametrize("code", ["import mien", "import mien.cli; mien.cli.main(['--help'])"])
def test_importing_and_helping_load_no_heavy_library(code: str) -> None:
    heavy = {"torch", "transformers", "sklearn", "matplotlib", "pyarrow", "scipy", "numpy", "PIL", "pydantic"}
    script = f"{code}\nimport sys\nprint(sorted({heavy!r} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"
