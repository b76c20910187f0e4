"""`mien predict` on what it cannot use: every kind of source, people and frames; rows and exit codes."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.factories.color_people import damage_frame, draw_people, film_people
from tests.factories.tiny_onnx import write_yolox

from mien.cli import main

COLORS = "tests.factories.color_people:ColorDetector"
Predict = Callable[..., tuple[int, list[dict[str, Any]], str]]


@pytest.fixture
def predict(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Predict:
    """Runs the command in the temporary folder; gives the exit code, the rows and what stderr says."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str, detector: str = COLORS, stdin: bytes = b"") -> tuple[int, list[Any], str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
        # Boxes take the place of a detector.
        finds = () if "--box" in arguments else ("--detector", detector)
        code = main(["predict", *arguments, "--run", str(run), *finds, "--json"])
        printed = capsys.readouterr()
        return code, [json.loads(line) for line in printed.out.splitlines()], printed.err

    return call


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """Of two people."""
    draw_people([(10, 10, 50, 100), (90, 10, 150, 100)]).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


# --- Sources ---

BYTES = bytes(range(256))


@pytest.mark.parametrize(
    ("source", "content", "said"),
    [
        ("none.png", None, "no image at none.png"),
        ("none.mp4", None, "no clip at none.mp4"),
        ("none.txt", None, "no list at none.txt"),
        ("none.jsonl", None, "no manifest at none.jsonl"),
        ("none.parquet", None, "no manifest at none.parquet"),
        ("none", None, "no file or folder at none"),
        ("none/*.png", None, "no file matches none/*.png"),
        ("", None, "a source is an empty path"),
        ("empty.png", b"", "empty.png is empty"),
        ("empty.mp4", b"", "empty.mp4 is empty"),
        ("empty.txt", b"", "empty.txt lists nothing"),
        ("empty.jsonl", b"", "empty.jsonl lists nothing"),
        ("empty.csv", b"image,box\n", "empty.csv lists nothing"),
        ("empty.json", b"[]", "empty.json lists nothing"),
        ("empty", "folder", "no image in empty"),
        ("odd.png", BYTES, "odd.png cannot be read as an image"),
        ("odd.mp4", BYTES, "odd.mp4 cannot be read as a clip"),
        ("odd.txt", BYTES, "odd.txt cannot be read: line 2 is not UTF-8"),
        ("odd.jsonl", BYTES, "odd.jsonl"),
        ("odd.csv", BYTES, "odd.csv cannot be read"),
        ("odd.json", BYTES, "odd.json cannot be read"),
        ("odd.parquet", BYTES, "odd.parquet cannot be read as Parquet"),
        ("odd.doc", b"words", "odd.doc cannot be read as an image: it is a text file"),
        ("list.txt", b"gone.png\n", "list.txt, line 1: no image at gone.png"),
        ("list.txt", b"\nhello\n", "list.txt, line 2: no file or folder at hello"),
        (
            "list.txt",
            b"https://a.org/b.jpg",
            "list.txt, line 1: addresses are not opened: https://a.org/b.jpg",
        ),
        ("https://a.org/b.jpg", None, "addresses are not opened: https://a.org/b.jpg"),
        ("file:///a", None, "addresses are not opened: file:///a"),
        ("data:image/png;base64,AAAA", None, "addresses are not opened: data:image/png;base64,AAAA"),
        ("rows.jsonl", b'{"image": "gone.png"}\n', "no image at gone.png"),
    ],
)
def test_a_source_that_is_missing_empty_or_unreadable_is_one_failed_row(
    predict: Predict, tmp_path: Path, source: str, content: bytes | str | None, said: str
) -> None:
    if content == "folder":
        (tmp_path / source).mkdir()
    elif isinstance(content, bytes):
        (tmp_path / source).write_bytes(content)
    code, rows, err = predict(source)
    assert code == 4
    assert said in err
    assert "hint: " in err
    # A source that is refused before a model is loaded has no row.
    assert [row["status"] for row in rows] == ["failed"] * len(rows)
    assert all(said in row["error"] for row in rows)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (b"", "the standard input names nothing"),
        (b"\n\r\n", "the standard input names nothing"),
        (b"\xff\xfe\n", "the standard input is not text"),
        (b"gone.png\n", "the standard input, line 1: no image at gone.png"),
    ],
)
def test_a_standard_input_that_names_nothing_is_one_failed_row(
    predict: Predict, lines: bytes, said: str
) -> None:
    code, rows, err = predict("-", stdin=lines)
    assert (code, [row["status"] for row in rows]) == (4, ["failed"])
    assert said in err


def test_bad_sources_of_every_kind_among_good_ones_stay_in_their_places(
    predict: Predict, photo: Path, tmp_path: Path
) -> None:
    film_people(tmp_path / "clip.mp4", [[(100, 20, 140, 140)]] * 5)
    draw_people([]).save(tmp_path / "no-one.png")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.png").write_bytes(photo.read_bytes()[:90])
    (tmp_path / "folder" / "b.png").write_bytes(photo.read_bytes())
    (tmp_path / "empty").mkdir()
    (tmp_path / "list.txt").write_text("photo.png\nnone.png\n")
    (tmp_path / "rows.jsonl").write_text('{"image": "photo.png", "box": [10, 10, 50, 100]}\n{"image": 7}\n')
    (tmp_path / "odd.csv").write_bytes(BYTES)
    (tmp_path / "cut.mp4").write_bytes((tmp_path / "clip.mp4").read_bytes()[:64])
    sources = ["photo.png", "none", "folder", "empty", "no-one.png", "list.txt", "odd.csv", "cut.mp4"]
    sources += ["rows.jsonl", "-", "none/*.png", "clip.mp4"]
    code, rows, err = predict(*sources, "--every", "5", stdin=b"photo.png\ngone.png\n")
    assert code == 3
    assert "9 of 16 images failed, for example no file or folder at none" in err
    expected = [
        *["photo.png: ok"] * 2,
        "none: failed",
        "folder/a.png: failed",
        *["folder/b.png: ok"] * 2,
        "empty: failed",
        "no-one.png: no person",
        *["photo.png: ok"] * 2,
        "none.png: failed",
        "odd.csv: failed",
        "cut.mp4: failed",
        "photo.png: ok",
        "rows.jsonl: failed",
        *["photo.png: ok"] * 2,
        "gone.png: failed",
        "none/*.png: failed",
        "clip.mp4: ok",
    ]
    assert [f"{row['source']}: {row['status']}" for row in rows] == expected
    assert all(row["error"] and row["hint"] for row in rows if row["status"] == "failed")
    # The same rows are in a file, and the same command gives the same exit code again.
    for _ in range(2):
        code, _, _ = predict(*sources, "--every", "5", "--out", "rows.csv", stdin=b"photo.png\ngone.png\n")
        assert code == 3
    assert len((tmp_path / "rows.csv").read_text().splitlines()) == 1 + len(expected)


def test_the_exit_code_of_an_only_source_is_the_same_again(predict: Predict, tmp_path: Path) -> None:
    (tmp_path / "odd.png").write_bytes(BYTES)
    for _ in range(2):
        code, _, err = predict("odd.png", "--out", "rows.jsonl")
        assert code == 4
        assert "odd.png cannot be read as an image" in err


# --- People ---


def test_no_one_in_a_photo_or_a_video_is_a_result(
    predict: Predict, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_people([]).save(tmp_path / "photo.png")
    film_people(tmp_path / "clip.mp4", [[]] * 10)
    code, rows, _ = predict("photo.png", "clip.mp4", "--every", "5", "--annotate", "marked")
    assert code == 0
    assert [(row["source"], row["frame"], row["status"], row["error"]) for row in rows] == [
        ("photo.png", None, "no person", None),
        ("clip.mp4", 0, "no person", None),
        ("clip.mp4", 5, "no person", None),
    ]
    assert len(list((tmp_path / "marked").iterdir())) == 2
    assert main(["predict", "photo.png", "clip.mp4", "--run", str(run), "--detector", COLORS]) == 0
    assert capsys.readouterr().out == "photo.png: no person\n\nclip.mp4: no person (0.0 to 0.2 s)\n"
    assert predict("clip.mp4", "--out", "rows.jsonl")[0] == 0
    (row,) = map(json.loads, (tmp_path / "rows.tracks.jsonl").read_text().splitlines())
    assert (row["track"], row["num_frames"], row["scores"], row["valence"]) == (None, 2, {}, None)


def test_a_person_of_three_pixels_is_read_if_found_and_too_small_for_a_model(
    predict: Predict, tmp_path: Path
) -> None:
    draw_people([(100, 100, 103, 103)]).save(tmp_path / "tiny.png")
    code, (found,), _ = predict("tiny.png", "--annotate", "marked")
    assert (code, found["status"], found["box"]) == (0, "ok", [100, 100, 103, 103])
    code, (given,), _ = predict("tiny.png", "--box", "100,100,103,103")
    assert (code, given["status"], given["box_source"]) == (0, "ok", "given")
    assert given["scores"] == found["scores"]
    # exp(-1) * 8 pixels of the input are 3 of it, below the least size of a person.
    write_yolox(tmp_path / "small.onnx", [(20, 0.9, (0, 0, -1, -1))])
    Image.new("RGB", (64, 64)).save(tmp_path / "dark.png")
    code, (no_one,), _ = predict("dark.png", detector="small.onnx")
    assert (code, no_one["status"]) == (0, "no person")


def test_sixty_people_are_sixty_rows(predict: Predict, tmp_path: Path) -> None:
    places = [
        (20 * (n % 15) + 4, 40 * (n // 15) + 2, 20 * (n % 15) + 16, 40 * (n // 15) + 36) for n in range(60)
    ]
    draw_people(places).save(tmp_path / "crowd.png")
    code, rows, _ = predict("crowd.png", "--annotate", "marked", "--out", "rows.parquet")
    assert code == 0
    assert [row["person"] for row in rows] == list(range(60))
    assert {tuple(row["box"]) for row in rows} == set(places)
    assert {row["status"] for row in rows} == {"ok"}
    assert [path.name for path in (tmp_path / "marked").iterdir()] == ["000001-crowd.png"]


def test_a_box_outside_of_its_image_costs_no_other(predict: Predict, photo: Path, tmp_path: Path) -> None:
    inside, outside = ("--box", "10,10,50,100"), ("--box", "900,10,940,100")
    code, (row,), err = predict("photo.png", *outside)
    assert (code, row["status"]) == (4, "failed")
    assert "error: box (900.0, 10.0, 940.0, 100.0) lies outside the image of 320 x 160 pixels" in err
    code, rows, err = predict("photo.png", *inside, *outside)
    assert (code, [row["status"] for row in rows]) == (3, ["ok", "failed"])
    assert "error: 1 of 1 images failed in part, for example box (900.0" in err
    code, rows, _ = predict("photo.png", "--box", "300,100,400,300")  # a part is inside
    assert (code, rows[0]["status"]) == (0, "ok")
    boxes = [
        [10, 10, 50, 100],
        [900, 10, 940, 100],
        [-9, -9, -1, -1],
        [50, 100, 10, 10],
        [0.1, 0.2, 0.5, 0.9],
    ]
    lines = [json.dumps({"image": "photo.png", "box": box}) for box in boxes]
    (tmp_path / "rows.jsonl").write_text("\n".join([*lines, lines[0]]))
    code, rows, _ = predict("rows.jsonl")
    assert code == 3
    assert [row["status"] for row in rows] == ["ok", "failed", "failed", "failed", "failed", "ok"]


# --- Frames ---


def test_a_corrupt_frame_is_a_row_in_its_place_and_people_go_on(predict: Predict, tmp_path: Path) -> None:
    film_people(tmp_path / "clip.mp4", [[(100, 20, 140, 140)]] * 10, options={"g": "1"})
    damage_frame(tmp_path / "clip.mp4", 4)
    code, rows, err = predict("clip.mp4", "--every", "2", "--annotate", "marked", "--out", "rows.jsonl")
    assert code == 3
    assert [(row["frame"], row["status"], row.get("track")) for row in rows] == [
        (0, "ok", 0),
        (2, "ok", 0),
        (4, "failed", None),
        (6, "ok", 0),
        (8, "ok", 0),
    ]
    assert "1 of 5 images failed, for example frame 4 of clip.mp4" in err
    assert [path.name for path in (tmp_path / "marked").iterdir()] == ["000001-clip.mp4"]
    (track,) = map(json.loads, (tmp_path / "rows.tracks.jsonl").read_text().splitlines())
    assert (track["num_frames"], track["num_failed"]) == (4, 0)


def test_a_video_that_ends_early_gives_its_frames_and_says_so(predict: Predict, tmp_path: Path) -> None:
    film_people(tmp_path / "clip.mkv", [[(100, 20, 140, 140)]] * 100, options={"g": "5"})
    content = (tmp_path / "clip.mkv").read_bytes()
    (tmp_path / "clip.mkv").write_bytes(content[: len(content) * 2 // 3])
    code, rows, err = predict("clip.mkv", "--every", "10")
    assert code == 3
    assert [row["status"] for row in rows] == ["ok"] * (len(rows) - 1) + ["failed"]
    assert len(rows) > 4
    assert "clip.mkv is cut short: its end is missing" in err
