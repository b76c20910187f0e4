"""A video of people who cross, leave and return becomes a time line per person, also after kills."""

from __future__ import annotations

import json
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.factories.killed_commands import run_commands
from tests.factories.playhouse_video import film_playhouse, tracks_of_people
from tests.factories.tiny_llava import build_tiny_llava

SECONDS = 24
DETECTOR = "tests.factories.playhouse_video:StageDetector"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the video, and what a whole run and one that was killed twice and started again have written."""
    folder = tmp_path_factory.mktemp("video")
    build_tiny_llava(folder / "llava")
    film_playhouse(folder / "clip.mp4", SECONDS)
    words = ["clip.mp4", "--detector", DETECTOR, "--zero-shot", "llava", "--labels", "calm,afraid"]
    killed = [*words, "--out", "killed.jsonl"]
    codes = run_commands(
        folder, ([*words, "--out", "whole.jsonl"], None), (killed, 31), (killed, 80), (killed, None)
    )
    assert codes == [0, -signal.SIGKILL, -signal.SIGKILL, 0]
    return folder


def read(path: Path) -> Sequence[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_people_keep_their_numbers_where_they_cross_and_for_two_seconds_out_of_sight(folder: Path) -> None:
    rows = read(folder / "whole.jsonl")
    assert sorted({row["time"] for row in rows}) == pytest.approx([n / 5 for n in range(5 * SECONDS)])
    # Numbers are from left to right. The third is away for five seconds, and later for one.
    assert tracks_of_people(rows) == {1: [0], 0: [1], 2: [2, 3]}


def test_each_person_has_a_time_line(folder: Path) -> None:
    rows = read(folder / "whole.jsonl")
    tracks = read(folder / "whole.tracks.jsonl")
    assert [row["track"] for row in tracks] == [0, 1, 2, 3]
    for row in tracks:
        line = [item for item in rows if item["track"] == row["track"]]
        assert (row["first_time"], row["last_time"]) == (line[0]["time"], line[-1]["time"])
        assert row["num_frames"] == len(line)
        assert all(set(item["scores"]) == {"calm", "afraid"} for item in line)
    # Those who cross are out of sight for less than a second.
    assert [row["last_time"] for row in tracks[:2]] == [pytest.approx(SECONDS - 0.2)] * 2
    assert tracks[2]["last_time"] < 8
    assert tracks[3]["first_time"] > 12


def test_runs_that_were_killed_write_the_same_files(folder: Path) -> None:
    for name in ("{}.jsonl", "{}.tracks.jsonl"):
        whole, killed = (folder / name.format(run) for run in ("whole", "killed"))
        assert killed.read_bytes() == whole.read_bytes()
