"""A new user, offline, with nothing but an image: people, labels, words and an annotated copy."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from PIL import Image

import mien
from mien.cli import main
from mien.playhouse.draw import draw_scene
from mien.playhouse.scene import sample_scene

RECIPE = Path(__file__).parents[2] / "recipes" / "playhouse.toml"
SMALL = ("data.options={ train = 8, val = 4, test = 4 }", "train.epochs=1", "describe.max_new_tokens=30")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that reads descriptions, trained for a moment."""
    folder = tmp_path_factory.mktemp("first_photo")
    options = ["--out", str(folder / "run"), *(part for setting in SMALL for part in ("--set", setting))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        assert main(["describe", str(RECIPE), *options]) == 0
        assert main(["train", str(RECIPE), *options]) == 0
    return folder / "run"


@pytest.fixture
def image(tmp_path: Path) -> tuple[Path, int]:
    """A drawn scene, and how many people are in it."""
    rng = random.Random("an image")
    drawing = next(scene for _ in range(99) if len((scene := draw_scene(sample_scene(rng))).boxes) == 2)
    path = tmp_path / "image.png"
    drawing.image.save(path)
    return path, len(drawing.boxes)


def test_one_command(
    run: Path, image: tuple[Path, int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, num_people = image
    marked = tmp_path / "marked"
    assert main(["predict", str(path), "--run", str(run), "--annotate", str(marked), "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(rows) == num_people
    for row in rows:
        assert (row["status"], row["box_source"]) == ("ok", "detected")
        assert row["box_score"] > 0.5
        assert len(row["scores"]) == 26
        assert "person" in row["description"]
    (copy,) = marked.iterdir()
    with Image.open(copy) as annotated, Image.open(path) as plain:
        assert annotated.convert("RGB").tobytes() != plain.convert("RGB").tobytes()


def test_it_says_what_it_wrote(
    run: Path, image: tuple[Path, int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, marked = image[0], tmp_path / "marked"
    command = ["predict", str(path), "--run", str(run), "--annotate", str(marked)]
    assert main(command) == 0
    (copy,) = marked.iterdir()
    assert capsys.readouterr().out.splitlines()[-2:] == ["", f"written: {copy}"]
    assert main([*command, "--out", str(tmp_path / "rows.csv")]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [f"written: {copy}"]


def test_the_folder_of_many_copies_is_named(
    run: Path, image: tuple[Path, int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    marked = tmp_path / "marked"
    assert main(["predict", *[str(image[0])] * 11, "--run", str(run), "--annotate", str(marked)]) == 0
    assert len(list(marked.iterdir())) == 11
    assert capsys.readouterr().out.splitlines()[-1] == f"written: 11 files in {marked}"


def test_five_lines_of_python(run: Path, image: tuple[Path, int], tmp_path: Path) -> None:
    path, num_people = image
    predictor = mien.Predictor.from_pretrained(run, detector="playhouse")
    results = predictor(path)
    results.annotate().save(tmp_path / "annotated.png")
    assert [person.box is not None for person in results] == [True] * num_people
    assert all(person.description is not None and len(person.top(3)) == 3 for person in results)
