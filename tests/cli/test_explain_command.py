"""`mien explain`: one photo, people by their boxes, files and exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from tests.factories.color_people import draw_people

from mien.cli import main

BOXES = ("--box", "10,10,50,100", "--box", "90,10,150,100")
QUICK = ("--cells", "3", "--random-orders", "1", "--top", "1")


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    draw_people([(10, 10, 50, 100), (90, 10, 150, 100)]).save(path)
    return path


def test_each_person_is_explained_and_written(
    run: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "why"
    arguments = ["explain", str(photo), "--run", str(run), *BOXES, *QUICK, "--out", str(out), "--json"]
    assert main(arguments) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["schema"] == 1
    assert [person["person"] for person in printed["people"]] == [0, 1]
    assert {len(person["labels"]) for person in printed["people"]} == {1}
    kinds = [item["kind"] for item in printed["people"][0]["counterfactuals"]]
    assert kinds == ["other_box", "face_blurred", "background_blurred"]  # the run reads no descriptions
    assert printed["people"][0]["counterfactuals"][0]["scores"] == pytest.approx(
        printed["people"][1]["scores"], abs=1e-6
    )
    written = sorted(str(path) for path in out.rglob("*") if path.is_file())
    assert written == sorted(printed["files"])
    assert len(written) == 2 * 4
    stored = json.loads((out / "person-1" / "explanation.json").read_text(encoding="utf-8"))
    assert stored == printed["people"][1]
    for path in out.rglob("*.jpg"):
        with Image.open(path) as image:
            image.load()


def test_one_person_and_label_in_text(run: Path, photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["explain", str(photo), "--run", str(run), *BOXES, *QUICK, "--person", "1"]
    assert main([*arguments, "--label", "Happiness", "--no-counterfactuals", "--random-orders", "0"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"{photo}, person 1\n\nHappiness 0.")
    assert "look at the map by occlusion first (faithfulness not measured)" in text
    assert "what if" not in text
    assert main([*arguments, "--face", "100,12,140,40"]) == 0
    text = capsys.readouterr().out
    assert "the face blurred" in text
    assert "the box on person 0" in text
    assert "chance up to" in text


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--label", "Hapiness"), (2, "Happiness")),
        (("--person", "2"), (2, "no person 2 among 2")),
        (("--face", "1,1,9,9"), (2, "one face for 2 people")),
        (("--description", "sad", "--person", "0"), (2, "reads no descriptions")),
        (("--box", "500,500,600,600"), (3, "outside the image")),
    ],
)
def test_mistakes_are_said(
    run: Path,
    photo: Path,
    arguments: tuple[str, ...],
    expected: tuple[int, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, message = expected
    assert main(["explain", str(photo), "--run", str(run), *BOXES, *QUICK, *arguments]) == code
    assert message in capsys.readouterr().err


def test_a_photo_that_cannot_be_read(
    run: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = str(tmp_path / "missing.png")
    assert main(["explain", missing, "--run", str(run), "--detector", "none"]) == 4
    assert "missing.png" in capsys.readouterr().err
    assert main(["explain", str(photo), "--run", str(tmp_path)]) == 4
    assert main(["explain", str(photo), "--run", str(run), "--out", str(photo)]) == 2
    assert main(["explain", str(photo), "--run", str(run), "--cells", "1"]) == 2


def test_a_photo_without_people(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw_people([]).save(tmp_path / "empty.png")
    colors = "tests.factories.color_people:ColorDetector"
    arguments = ["explain", str(tmp_path / "empty.png"), "--run", str(run), "--detector", colors]
    assert main(arguments) == 0
    assert "no person" in capsys.readouterr().out
