"""Mistakes on the command line give two lines, an error and a hint, and the right exit code."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from mien.cli import main

PHOTOS = Path(__file__).parents[2] / "recipes" / "photos.toml"


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary working directory and cache."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def fails(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """The exit code, the error line and the hint line; nothing else may be on stderr."""
    code = main(arguments)
    out, err = capsys.readouterr()
    assert out == ""
    lines = [line for line in err.splitlines() if not line.startswith("note:")]
    assert len(lines) == 2, err
    assert lines[0].startswith("error: ")
    assert lines[1].startswith("hint: ")
    return code, lines[0], lines[1]


def _manifest(folder: Path, *rows: dict[str, object]) -> str:
    path = folder / "people.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return f"data.root={path}"


def _photo(folder: Path) -> None:
    Image.new("RGB", (64, 48), "teal").save(folder / "1.png")


Arguments = Callable[[Path], tuple[str, ...]]
DESCRIBE = ("describe", str(PHOTOS), "--set")
CASES: dict[str, tuple[int, str, str, Arguments]] = {
    "a wrong option": (2, "No such option", "--help", lambda _: ("describe", "--sset", "x")),
    "an unknown command": (2, "'describe'", "--help", lambda _: ("descibe", "x.toml")),
    "a missing recipe": (2, "no recipe at", "TOML", lambda _: ("describe", "nowhere.toml")),
    "an unknown key": (2, "describe.promt", "prompt", lambda _: (*DESCRIBE, "describe.promt=paper")),
    "a value of the wrong type": (2, "train.epochs", "integer", lambda _: (*DESCRIBE, "train.epochs=many")),
    "an unknown dataset": (2, "manifst", "manifest", lambda _: (*DESCRIBE, "data.name=manifst")),
    "an unknown fusion": (
        2,
        "qfromer",
        "qformer",
        lambda p: ("train", str(PHOTOS), "--set", _photo_row(p), "--set", "model.fusion=qfromer"),
    ),
    "an unknown prompt": (
        2,
        "papper",
        "paper",
        lambda p: (*DESCRIBE, _photo_row(p), "--set", "describe.prompt=papper"),
    ),
    "an unknown engine": (
        2,
        "locl",
        "local",
        lambda p: (*DESCRIBE, _photo_row(p), "--set", "describe.engine=locl"),
    ),
    "no manifest": (4, "no manifest at", ".jsonl", lambda _: (*DESCRIBE, "data.root=nowhere.jsonl")),
    "an empty manifest": (4, "has no rows", "row looks like", lambda p: (*DESCRIBE, _manifest(p))),
    "a missing split": (4, "no split 'val'", "train", lambda p: (*DESCRIBE, _photo_row(p), "--split", "val")),
    "missing weights": (
        5,
        "no/such/model",
        "folder",
        lambda p: (*DESCRIBE, _photo_row(p), "--set", "describe.model=no/such/model"),
    ),
    "a folder that is not a run": (4, "is not a run", "manifest.json", lambda p: ("evaluate", str(p))),
    "a report without a run": (4, "is not a run", "manifest.json", lambda p: ("report", str(p))),
    "a prediction without a model": (
        4,
        "is not a run",
        "manifest.json",
        lambda p: ("predict", "1.png", "--run", str(p)),
    ),
}


def _photo_row(folder: Path) -> str:
    _photo(folder)
    return _manifest(folder, {"image": "1.png", "labels": ["Peace"], "split": "train"})


@pytest.mark.parametrize("case", CASES)
def test_a_mistake_gives_an_error_a_hint_and_the_right_code(
    cli: Path, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    code, in_error, in_hint, arguments = CASES[case]
    got, error, hint = fails(capsys, *arguments(cli))
    assert got == code, error
    assert in_error in error
    assert in_hint in hint


def test_items_that_fail_are_stored_and_listed(cli: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With a broken image, a missing one and a box outside, the run continues and ends with code 3."""
    _photo(cli)
    (cli / "2.png").write_bytes(b"\x89PNG\r\n\x1a\n torn")
    where = _manifest(
        cli,
        {"id": "fine", "image": "1.png", "split": "test"},
        {"id": "torn", "image": "2.png", "split": "test"},
        {"id": "gone", "image": "3.png", "split": "test"},
        {"id": "outside", "image": "1.png", "box": [100, 100, 120, 120], "split": "test"},
    )
    code = main([*DESCRIBE, where, "--set", "describe.engine=fake", "--out", "run", "--json"])
    out, err = capsys.readouterr()
    assert code == 3
    found = json.loads(out)
    assert (found["described"], found["failed"]) == (1, 3)
    assert {item["id"] for item in found["failures"]} == {"torn", "gone", "outside"}
    assert "3 of 4 subjects" in err
    assert "--retry-failed" in err
