"""The tutorial runs: each command, the recipe and the Python, and prints what the page says to expect."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from mien.cli import main

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "tutorial.md").read_text(encoding="utf-8")
PAPER_TABLE = (DOCS / "how-to" / "paper-table.md").read_text(encoding="utf-8")
SMALL = {  # the recipe in seconds
    "train = 600, val = 150, test = 200": "train = 12, val = 8, test = 8",
    "epochs = 8": "epochs = 1",
    "max_new_tokens = 120": "max_new_tokens = 40",
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def run_tutorial(recipe: str, folder: Path, capture: pytest.CaptureFixture[str]) -> dict[str, str]:
    """Runs all commands, and returns what each one printed."""
    (folder / "tutorial.toml").write_text(recipe, encoding="utf-8")
    printed: dict[str, str] = {}
    for block in blocks("console"):
        for line in block.splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            assert words[0] == "mien"
            assert main(words[1:]) == 0, line
            printed[line] = capture.readouterr().out
    (python,) = blocks("python")
    exec(compile(python, "tutorial.md", "exec"), {})  # noqa: S102  the page's own text
    printed["python"] = capture.readouterr().out
    (table,) = re.findall(r"```python\n(.*?)```", PAPER_TABLE, re.DOTALL)  # of the same two runs
    exec(compile(table, "paper-table.md", "exec"), {})  # noqa: S102  the page's own text
    printed["table"] = capture.readouterr().out
    return printed


def check_files(folder: Path) -> None:
    for name in (
        "runs/tutorial-audit/audit.html",
        "words.csv",
        "runs/tutorial/report.html",
        "marked/000001-00007.png",
        "why/explanation.html",
    ):
        assert (folder / name).stat().st_size > 100, name
    page = (DOCS / "reference" / "files.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w.-]+)/?`", page.partition("## Descriptions")[0]))
    written = {
        re.sub(r"-(val|test)\.", "-SPLIT.", path.name) for path in (folder / "runs" / "tutorial").iterdir()
    }
    assert written - named == set()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def test_the_tutorial_runs_in_small(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (recipe,) = blocks("toml")
    for written, small in SMALL.items():
        assert written in recipe
        recipe = recipe.replace(written, small)
    recipe += "\n[evaluate]\nbootstrap = 20\n"
    printed = run_tutorial(recipe, folder, capsys)
    assert len(printed) == len([line for block in blocks("console") for line in block.splitlines()]) + 2
    assert printed["python"].startswith("((")
    assert len(printed["table"].splitlines()) == 3
    check_files(folder)


@pytest.mark.slow
def test_the_tutorial_prints_what_it_says(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (recipe,) = blocks("toml")
    printed = run_tutorial(recipe, folder, capsys)
    check_files(folder)
    scores, difference = blocks("text")

    def numbers(text: str) -> list[float]:
        return [float(number) for number in re.findall(r"[+-]?\d+\.\d+", text)]

    for name, expected in [("qformer +mAP", scores), ("tutorial - image-only", difference)]:
        (line,) = [line for line in expected.splitlines() if re.match(name, line)]
        outputs = [text for command, text in printed.items() if command.startswith("$ ")]
        (found,) = [line for text in outputs for line in text.splitlines() if re.match(name, line)]
        # Another processor rounds differently, and a training follows.
        assert numbers(found) == pytest.approx(numbers(line), abs=0.03), found
    assert "950" in printed["$ mien describe tutorial.toml"]
    audit = printed["$ mien describe audit tutorial.toml"]
    assert len(re.findall(r"^ok ", audit, re.MULTILINE)) == 9
    assert "not sure" in printed["$ mien predict scenes/test/00007.png --run runs/tutorial --annotate marked"]
