"""`mien predict` on a folder of photographs, with a real detector: a row for each person."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.factories.coco_people import coco_photos, score_boxes
from tests.factories.shared_data import shared
from tests.factories.tiny_llava import build_tiny_llava

from mien.labels import EMOTIC


@pytest.mark.slow
def test_a_folder_of_photographs_becomes_a_row_per_person(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    folder = shared("scene-photos")
    detector = shared("weights", "yolox_nano_416_coco80.onnx")
    model = build_tiny_llava(tmp_path / "llava")  # random: only that every person gets scores is tested
    command = [sys.executable, "-m", "mien", "predict", str(folder / "images"), "--detector", str(detector)]
    command += ["--zero-shot", str(model), "--out", str(tmp_path / "people.jsonl")]
    command += ["--annotate", str(tmp_path / "marked")]
    subprocess.run(command, check=True, capture_output=True)
    rows = [json.loads(line) for line in (tmp_path / "people.jsonl").read_text().splitlines()]
    photos = sorted(coco_photos(folder), key=lambda photo: photo.path.name)
    assert sorted({row["source"] for row in rows}) == [str(photo.path) for photo in photos]
    people = [row for row in rows if row["status"] != "no person"]
    assert {row["status"] for row in people} == {"uncalibrated"}
    assert all(tuple(row["scores"]) == EMOTIC.labels and row["box_source"] == "detected" for row in people)
    found = [[row["box"] for row in people if row["source"] == str(photo.path)] for photo in photos]
    score = score_boxes(photos, found)
    assert score.recall >= 0.80
    assert score.precision >= 0.75
    assert len(list((tmp_path / "marked").iterdir())) == len(photos)
