"""Shells complete commands, options and subcommands of mien."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

# The mark that a shell passes its words in, by shell.
WORDS = {
    "bash": lambda line: {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)},
    "zsh": lambda line: {"_TYPER_COMPLETE_ARGS": line},
    "fish": lambda line: {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
}


def complete(shell: str, line: str) -> str:
    """What mien answers a shell that completes the end of a line."""
    environment = {**os.environ, "_MIEN_COMPLETE": f"complete_{shell}", **WORDS[shell](line)}
    command = [sys.executable, "-m", "mien"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("shell", sorted(WORDS))
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("mien pre", {"predict"}),
        ("mien describe mo", {"models"}),
        ("mien data ver", {"verify"}),
        ("mien train recipe.toml --dr", {"--dry-run"}),
    ],
)
def test_a_line_is_completed(shell: str, line: str, expected: set[str]) -> None:
    answer = complete(shell, line)
    assert all(word in answer for word in expected)
    assert "mien" not in answer.split()
    assert "evaluate" not in answer


def test_the_script_is_installed_and_asks_mien(tmp_path: Path) -> None:
    environment = {**os.environ, "HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    command = [sys.executable, "-m", "mien", "--install-completion", "bash"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "completion installed" in done.stdout
    script = (tmp_path / ".bash_completions" / "mien.sh").read_text()
    assert "_MIEN_COMPLETE=complete_bash" in script
    assert "mien.sh" in (tmp_path / ".bashrc").read_text()
