"""`mien predict`: several images, one of which cannot be read, in any order."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from tests.factories.color_people import draw_people, film_people

from mien.cli import main


@pytest.fixture
def images(tmp_path: Path) -> dict[str, Path]:
    made = {name: tmp_path / f"{name}.png" for name in ("one", "two", "bad")}
    for index, name in enumerate(("one", "two")):
        Image.new("RGB", (64, 48), (90 * index, 120, 30)).save(made[name])
    made["bad"].write_bytes(made["one"].read_bytes()[:60])
    return made


@pytest.mark.parametrize("order", list(itertools.permutations(["one", "two", "bad"])), ids=" ".join)
def test_a_bad_image_does_not_cost_the_others(
    run: Path, images: dict[str, Path], order: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [str(images[name]) for name in order]
    assert main(["predict", *paths, "--run", str(run), "--detector", "none", "--json"]) == 3
    printed = capsys.readouterr()
    predictions = [json.loads(line) for line in printed.out.splitlines()]
    assert [item["source"] for item in predictions] == paths
    assert [item["status"] for item in predictions] == ["failed" if n == "bad" else "ok" for n in order]
    for name, item in zip(order, predictions, strict=True):
        assert ("bad.png" in item["error"]) if name == "bad" else (len(item["scores"]) == 26)
    assert "1 of 3 images failed" in printed.err


def test_a_single_bad_image_is_an_error(
    run: Path, images: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(images["bad"]), "--run", str(run), "--detector", "none"]) == 4
    assert "bad.png" in capsys.readouterr().err
    assert main(["predict", str(images["one"]), "--run", str(run), "--box", "100,100,120,120"]) == 4
    assert "outside the image" in capsys.readouterr().err


def test_a_box_is_for_a_single_image(
    run: Path, images: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["predict", str(images["one"]), str(images["two"]), "--run", str(run), "--box", "1,1,9,9"]
    assert main(arguments) == 2
    assert "one box for 2 images" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ("0.35,0.10,0.65,0.98", (4, "looks like shares of the image; multiply by width and height")),
        ("1,1,1e308,5", (4, "is outside any image")),
        ("1,1,nan,5", (4, "is not finite")),
        ("1,2,3", (2, "write it as left,top,right,bottom")),
    ],
)
def test_normalized_box_of_predict_is_refused(
    run: Path,
    images: dict[str, Path],
    box: str,
    expected: tuple[int, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, said = expected
    assert main(["predict", str(images["one"]), "--run", str(run), "--box", box]) == code
    assert said in capsys.readouterr().err


# --- People, videos and files ---

COLORS = "tests.factories.color_people:ColorDetector"


def test_people_of_photos_and_videos_are_printed_as_json_lines(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_people([(10, 10, 50, 100), (90, 10, 150, 100)]).save(tmp_path / "a.png")
    draw_people([]).save(tmp_path / "b.png")
    (tmp_path / "c.png").write_bytes(b"no image")
    film_people(tmp_path / "d.mp4", [[(100, 20, 140, 140)]] * 25)
    arguments = ["predict", str(tmp_path), "--run", str(run), "--detector", COLORS, "--fps", "5"]
    assert main([*arguments, "--json"]) == 3
    printed = capsys.readouterr()
    rows = [json.loads(line) for line in printed.out.splitlines()]
    assert [row["status"] for row in rows[:4]] == ["ok", "ok", "no person", "failed"]
    assert [(row["frame"], row["track"]) for row in rows[4:]] == [(5 * n, 0) for n in range(5)]
    assert {row["schema"] for row in rows} == {1}
    assert "people are found by colors" in printed.err
    assert "1 of 8 images failed" in printed.err
    assert main(arguments) == 3
    text = capsys.readouterr().out
    assert "b.png: no person" in text
    assert "d.mp4, person 0 (0.0 to 0.8 s)" in text


def test_rows_go_to_a_file_once(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw_people([(10, 10, 50, 100), (90, 10, 150, 100)]).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no image")
    out, marked = tmp_path / "people.csv", tmp_path / "marked"
    arguments = ["predict", str(tmp_path / "a.png"), str(tmp_path / "b.png"), "--run", str(run)]
    arguments += ["--detector", COLORS, "--out", str(out), "--annotate", str(marked)]
    assert main(arguments) == 3
    assert "2 people in 2 images" in capsys.readouterr().out
    content = out.read_bytes()
    assert [path.name for path in marked.iterdir()] == ["000001-a.png"]
    assert main(arguments) == 3
    assert "was written by this very command before" in capsys.readouterr().err
    assert out.read_bytes() == content
    assert main([*arguments, "--describe-every", "1"]) == 2
    assert "holds the results of another command" in capsys.readouterr().err


@pytest.mark.parametrize(
    "case",
    [
        (["--out", "people.xlsx"], 2, "does not name a format"),
        (["--fps", "0"], 2, "frames per second"),
        (["--fps", "2", "--every", "2"], 2, "exclude each other"),
        (["--describe-every", "-1"], 2, "describe_every is -1"),
        (["--zero-shot", "playhouse"], 2, "exclude each other"),
        (["--labels", "calm,afraid"], 2, "exclude each other"),
        (["--detector", "nothing"], 2, "nothing"),
        (["--detector", "missing.onnx"], 5, "missing.onnx"),
    ],
)
def test_options_that_cannot_work_are_refused(
    run: Path,
    images: dict[str, Path],
    case: tuple[list[str], int, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    options, code, said = case
    assert main(["predict", str(images["one"]), "--run", str(run), *options]) == code
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("source", "code"),
    [("none.png", 4), ("none/*.png", 4), ("empty", 4), ("empty.txt", 4), ("broken.jsonl", 4), ("cut.mp4", 4)],
)
def test_a_single_source_that_is_missing_empty_or_unreadable(
    run: Path, tmp_path: Path, source: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "broken.jsonl").write_bytes(b"\xff\xfe\xff")
    (tmp_path / "cut.mp4").write_bytes(b"\0\0\0\x18ftypmp42")
    assert main(["predict", str(tmp_path / source), "--run", str(run), "--detector", "none"]) == code
    assert source in capsys.readouterr().err


def test_a_photo_that_does_not_exist_is_named_before_a_model_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    assert main(["predict", str(tmp_path / "none.png")]) == 4
    assert f"no image at {tmp_path / 'none.png'}" in capsys.readouterr().err


def test_the_embedded_model_says_what_it_knows_and_nothing_else(images: dict[str, Path]) -> None:
    command = [sys.executable, "-m", "mien", "predict", str(images["one"]), "--zero-shot", "playhouse"]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    known, detector = found.stderr.splitlines()[:2]
    assert "know only Playhouse" in known
    assert detector == "people are found by transformers/playhouse"


def test_labels_of_your_own_without_training(
    images: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["predict", str(images["one"]), "--zero-shot", "playhouse", "--labels", "calm, afraid"]
    assert main([*arguments, "--detector", "none", "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert (list(row["scores"]), row["status"]) == (["calm", "afraid"], "uncalibrated")
