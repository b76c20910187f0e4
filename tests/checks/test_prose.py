"""scripts/check_prose.py finds the words and names that the project gave up, and nothing else."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "check_prose.py"


@pytest.fixture(scope="module")
def prose() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_prose", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Nobody mends it.", ["Nobody", "mends"]),
        ("it is no\n  error", ["is no"]),
        ("there is no error, and this is no longer one", []),
        ("it tells off 15 % of the images", ["tells off"]),
        ("it tells 15 % off", ["tells 15 % off"]),
        ("one row a sample and one row per sample", ["one row a sample"]),
        ("one line a day, one row at a time", ["one line a day"]),
        ("# It sees one image\n\nA subject", []),
        ("in colour, normalised, by the neighbours", ["colour", "neighbours", "normalised"]),
        ("In: a run. Sit in: here.", ["In:"]),
        ("make room for a living room; the room reads", ["the room"]),
        (
            "`Crew` in mien.train.stock and `looks.py`, but Crew in prose",
            ["Crew", "looks.py", "mien.train.stock"],
        ),
    ],
)
def test_prose(prose: ModuleType, tmp_path: Path, text: str, words: list[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    assert sorted(found.word for found in prose.find_in_file(page, tmp_path)) == words


def test_a_module_is_read_by_comments_strings_and_identifiers(prose: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(
        '''"""One line,
and nobody."""
from mien.train.stock import Crew
value = is_ = 1; no = "is " "no"  # what is
# there
colour_of = f"{value} pictures"
good = "image"
''',
        encoding="utf-8",
    )
    found = prose.find_in_file(tmp_path / "module.py", tmp_path)
    assert [(entry.line, entry.word) for entry in found] == [
        (2, "nobody"),
        (3, "Crew"),
        (3, "mien.train.stock"),
        (4, "is no"),
        (4, "what is there"),
        (6, "colour_of"),
        (6, "pictures"),
    ]


def test_the_exit_code_and_the_lines(
    prose: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.md").write_text("An image.", encoding="utf-8")
    (tmp_path / "quote.md").write_text("A picture.", encoding="utf-8")
    monkeypatch.setattr(prose, "ALLOWED", (prose.Allowed("quote.md", "picture", "a quotation"),))
    assert prose.main(["good.md", "quote.md"]) == 0
    (tmp_path / "bad.md").write_text("One.\nA picture.", encoding="utf-8")
    capsys.readouterr()
    assert prose.main(["."]) == 1
    assert capsys.readouterr().out == "bad.md:2: picture -> image\n"
    with pytest.raises(SystemExit, match="no file or folder at missing"):
        prose.main(["missing"])


def test_each_allowance_has_a_reason(prose: ModuleType) -> None:
    assert all(entry.reason for entry in prose.ALLOWED)
