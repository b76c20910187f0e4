"""Results become files: one row per person, complete or not there, and the same after any kill."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from zlib import crc32

import pytest
from pyarrow import parquet
from tests.factories.color_people import ColorDetector, crossing, draw_people, film_people
from tests.factories.killed_predictions import killed, predict

from mien.errors import DataError, MienError, UsageError
from mien.predict.base import SubjectPredictor
from mien.predict.output.journal import Journal
from mien.predict.output.tables import COLUMNS
from mien.predict.output.write import Outcome, write_results
from mien.predict.sources.open import open_sources
from mien.prefetch import batched
from mien.types import Prediction, Subject


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


class Batched(SubjectPredictor):
    """A score depends on everyone in the batch, as the last digits of a model's scores do."""

    def __init__(self) -> None:
        self.detector = ColorDetector(one_per_color=True)

    def each(
        self, subjects: Iterable[Subject], *, batch_size: int | None = None
    ) -> Iterator[Prediction | MienError]:
        for batch in batched(subjects, 3):
            share = crc32(" ".join(subject.id for subject in batch).encode()) / 2**32
            for subject in batch:
                scores = {"calm": share, "afraid": 1 - share}
                yield Prediction(subject_id=subject.id, label_set="own", scores=scores)


def predict_batched(sources: Path, out: Path, stop_after: int | None = None) -> int:
    """Writes, and stops as a kill does; returns how many results were there already."""
    with Journal(out, request="r", command="mien predict") as journal:
        num_done = journal.num_results
        found = write_results(Batched(), open_sources(sources), Outcome(), journal=journal)
        for _ in islice(found, stop_after):
            pass
    return num_done


def test_a_killed_run_goes_on_with_the_same_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien.predict.base._ROUND", 8)
    sources = tmp_path / "sources"
    sources.mkdir()
    for number in range(30):
        count = 0 if number in (7, 20) else 1 + number % 3 % 2
        boxes = [(10, 10, 50, 100), (90, 10, 150, 100)][:count]
        draw_people(boxes).save(sources / f"{number:02}.png")
    whole = tmp_path / "whole.jsonl"
    predict_batched(sources, whole)
    for kills in ((1, 9, 17), (20, 25, 29), (13,)):
        out = tmp_path / f"{kills[0]}.jsonl"
        done = [predict_batched(sources, out, stop_after) for stop_after in kills]
        done.append(predict_batched(sources, out))
        assert out.read_bytes() == whole.read_bytes()
        # What is read again is less than a round: eight people, or nine, are in eight images or fewer.
        assert all(0 <= kill - again < 8 for kill, again in zip(kills, done[1:], strict=True))
    # Batches span images.
    rows = [json.loads(line) for line in whole.read_text().splitlines()]
    shares = [row["scores"]["calm"] for row in rows if row["scores"]]
    assert any(
        row["person"] and share != before
        for row, share, before in zip(
            [row for row in rows if row["scores"]][1:], shares[1:], shares, strict=False
        )
    )


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
