"""Results become files: one row per person, complete or not there, and the same after any kill."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from pyarrow import parquet
from tests.factories.color_people import crossing, draw_people, film_people
from tests.factories.killed_predictions import killed, predict

from mien.errors import DataError, UsageError
from mien.predict.output.tables import COLUMNS


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A photo of two people, one of no one, a broken one, and a video."""
    folder = tmp_path / "sources"
    folder.mkdir()
    draw_people([(10, 10, 50, 100), (90, 10, 150, 100)]).save(folder / "a.png")
    draw_people([]).save(folder / "b.png")
    (folder / "c.png").write_bytes(b"no image")
    film_people(folder / "d.mp4", crossing(2))
    return folder


def test_rows_are_the_same_in_every_format(sources: Path, tmp_path: Path) -> None:
    for suffix in ("jsonl", "csv", "parquet"):
        assert len(list(predict(sources, tmp_path / f"people.{suffix}"))) == 3 + 25
    rows = [json.loads(line) for line in (tmp_path / "people.jsonl").read_text().splitlines()]
    assert tuple(rows[0]) == COLUMNS
    assert [(row["status"], row["person"]) for row in rows[:4]] == [
        ("uncalibrated", 0),
        ("uncalibrated", 1),
        ("no person", None),
        ("failed", None),
    ]
    assert (rows[0]["box"], rows[0]["box_source"], rows[0]["box_score"]) == (
        [10, 10, 50, 100],
        "detected",
        0.9,
    )
    assert "cannot be read" in rows[3]["error"] or "not an image" in rows[3]["error"]
    assert rows[0]["above"] == ["=afraid"]
    assert (rows[0]["sure"], rows[0]["prediction_set"], rows[0]["coverage"]) == (
        True,
        ["calm", "=afraid"],
        0.9,
    )
    assert rows[2]["sure"] is rows[2]["prediction_set"] is None
    in_video = [row for row in rows if row["time"] is not None and row["status"] != "failed"]
    assert {row["coverage"] for row in in_video} == {None}  # smoothed scores have no stated coverage
    assert {row["sure"] for row in in_video} <= {True, False}
    from_parquet = parquet.read_table(tmp_path / "people.parquet").to_pylist()
    assert from_parquet == [{**row, "scores": row["scores"] or None} for row in rows]
    with (tmp_path / "people.csv").open(newline="") as file:
        from_csv = list(csv.DictReader(file))
    assert [json.loads(row["scores"] or "{}") for row in from_csv] == [row["scores"] or {} for row in rows]
    assert from_csv[0]["description"].startswith("'=HYPERLINK")
    assert (from_csv[2]["status"], from_csv[2]["box"]) == ("no person", "")


def test_a_video_has_a_row_per_track_in_a_file_of_its_own(sources: Path, tmp_path: Path) -> None:
    list(predict(sources, tmp_path / "people.jsonl"))
    tracks = [json.loads(line) for line in (tmp_path / "people.tracks.jsonl").read_text().splitlines()]
    assert [(row["track"], row["first_time"]) for row in tracks] == [(0, 0.0), (1, 0.0)]
    assert {Path(row["source"]).name for row in tracks} == {"d.mp4"}
    list(predict(sources / "a.png", tmp_path / "photo.jsonl"))
    assert not (tmp_path / "photo.tracks.jsonl").exists()


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_a_killed_run_goes_on_and_gives_the_same_file(sources: Path, tmp_path: Path, suffix: str) -> None:
    whole, out = tmp_path / f"whole.{suffix}", tmp_path / f"people.{suffix}"
    list(predict(sources, whole))
    killed(sources, out, 0, 2, 9, 11, 20)  # each goes on from where the one before was killed
    assert not out.exists()
    done = sum(1 for _ in predict(sources, out))
    assert done == 28
    assert out.read_bytes() == whole.read_bytes()
    tracks = f"people.tracks.{suffix}", f"whole.tracks.{suffix}"
    assert (tmp_path / tracks[0]).read_bytes() == (tmp_path / tracks[1]).read_bytes()
    assert list(predict(sources, out)) == []  # it is complete


def test_what_a_kill_left_of_a_line_is_cut_off(sources: Path, tmp_path: Path) -> None:
    whole, out = tmp_path / "whole.jsonl", tmp_path / "people.jsonl"
    list(predict(sources, whole))
    lines = tmp_path / ".people.jsonl.journal" / "results.jsonl"
    killed(sources, out, 6)
    begun = lines.read_bytes()
    for torn in (b'{"source": "x', b'{"source": 7}\n', b"\0\0\0\n", b"[]\n"):
        out.unlink(missing_ok=True)
        lines.write_bytes(begun + torn)
        list(predict(sources, out))
        assert out.read_bytes() == whole.read_bytes()


def test_a_kill_between_the_file_and_its_record_changes_nothing(sources: Path, tmp_path: Path) -> None:
    out = tmp_path / "people.jsonl"
    killed(sources, out, -1)
    content = out.read_bytes()
    list(predict(sources, out))
    assert out.read_bytes() == content
    assert not (tmp_path / ".people.jsonl.journal" / "results.jsonl").exists()


def test_another_command_for_the_same_file_is_refused(sources: Path, tmp_path: Path) -> None:
    out = tmp_path / "people.jsonl"
    killed(sources, out, 3)
    with pytest.raises(UsageError, match="was begun by another command or model: mien predict"):
        list(predict(sources, out, request="other"))
    list(predict(sources, out))
    with pytest.raises(UsageError, match="holds the results of another command"):
        list(predict(sources, out, request="other"))
    out.unlink()
    assert len(list(predict(sources, out, request="other"))) == 28
    (tmp_path / "mine.jsonl").write_text("{}")
    with pytest.raises(UsageError, match="exists already"):
        list(predict(sources, tmp_path / "mine.jsonl"))
    assert (tmp_path / "mine.jsonl").read_text() == "{}"


def test_sources_that_have_changed_since_are_refused(sources: Path, tmp_path: Path) -> None:
    out = tmp_path / "people.jsonl"
    killed(sources, out, 3)
    draw_people([]).save(sources / "0.png")
    with pytest.raises(DataError, match="in the place where"):
        list(predict(sources, out))


def test_one_process_writes_at_a_time(sources: Path, tmp_path: Path) -> None:
    writing = predict(sources, tmp_path / "people.jsonl")
    next(writing)
    with pytest.raises(DataError, match="is being written by"):
        next(predict(sources, tmp_path / "people.jsonl"))
    with pytest.raises(DataError, match="no folder"):
        next(predict(sources, tmp_path / "none" / "people.jsonl"))
    with pytest.raises(UsageError, match="is a folder"):
        next(predict(sources, sources))


def test_annotated_copies_are_complete_also_after_a_kill(sources: Path, tmp_path: Path) -> None:
    whole, drawn = tmp_path / "whole", tmp_path / "drawn"
    list(predict(sources, tmp_path / "whole.jsonl", annotate=whole))
    killed(sources, tmp_path / "people.jsonl", 10, annotate=drawn)
    assert not list(drawn.glob("*.mp4"))
    list(predict(sources, tmp_path / "people.jsonl", annotate=drawn))
    names = sorted(path.name for path in drawn.iterdir())
    assert names == ["000001-a.png", "000002-b.png", "000004-d.mp4"]
    for name in names:
        assert (drawn / name).read_bytes() == (whole / name).read_bytes(), name
