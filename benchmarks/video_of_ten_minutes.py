"""A video of ten minutes of Playhouse people: who is who, memory over time, and a kill on the way.

    PYTHONPATH=src:. python benchmarks/video_of_ten_minutes.py [--minutes 10] [--detector playhouse]

Two people cross every ten seconds, and a third one is away twice in each half minute: for five seconds, and
for one. `mien predict --out` reads the video in one process, and in a second one that is killed in the middle
(SIGKILL) and started again. Prints JSON: the tracks of each person, the resident memory of the first process
at each minute of the video, its slope after the first minute, and whether the files are the same bytes.

By default people are found by the bibs that they wear, and labels are scored by a tiny random LLaVA: both
are light, so that memory which grows is seen. `--detector` and `--zero-shot` take others.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from tests.factories.playhouse_video import film_playhouse, tracks_of_people
from tests.factories.tiny_llava import build_tiny_llava

FPS = 5


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=int, default=10)
    parser.add_argument("--detector", default="tests.factories.playhouse_video:StageDetector")
    parser.add_argument("--zero-shot", help="a model; by default a tiny random one")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = arguments.zero_shot or str(build_tiny_llava(folder / "llava"))
        video = film_playhouse(folder / "clip.mp4", 60 * arguments.minutes)
        command = [sys.executable, "-m", "mien", "predict", str(video), "--detector", arguments.detector]
        command += ["--zero-shot", model, "--labels", "calm,afraid", "--fps", str(FPS)]
        whole = run(command, folder / "whole.jsonl")
        middle = len(lines(folder / "whole.jsonl")) and 60 * arguments.minutes * FPS // 2
        first = run(command, folder / "killed.jsonl", kill_after=middle)
        second = run(command, folder / "killed.jsonl")
        print(json.dumps(report(folder, arguments, whole, first, second), indent=2))


def run(command: Sequence[str], out: Path, kill_after: int | None = None) -> dict[str, Any]:
    """Runs a command and looks at its memory at each minute of the video; kills it after so many frames."""
    journal = out.with_name(f".{out.name}.journal") / "results.jsonl"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.Popen([*command, "--out", str(out)], stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    minutes: dict[int, float] = {}
    num_frames, position = 0, 0
    while process.poll() is None:
        time.sleep(0.05)
        try:
            with journal.open("rb") as file:
                file.seek(position)
                new = file.read()
        except FileNotFoundError:
            continue
        num_frames, position = num_frames + new.count(b"\n"), position + len(new)
        minute = num_frames // (60 * FPS)
        if minute not in minutes and num_frames:
            minutes[minute] = resident(process.pid)
        if kill_after is not None and num_frames >= kill_after:
            process.kill()
            break
    _, errors = process.communicate()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    expected = 0 if kill_after is None else -signal.SIGKILL
    assert process.returncode == expected, errors.decode()
    return {
        "frames_in_journal": num_frames,
        "cpu_seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
        "megabytes_at_minute": minutes,
    }


def resident(pid: int) -> float:
    """The resident memory of a process, in megabytes of 1e6 bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return round(int(status.split("VmRSS:")[1].split()[0]) * 1024 / 1e6, 1)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def report(
    folder: Path, arguments: argparse.Namespace, whole: Any, first: Any, second: Any
) -> dict[str, Any]:
    memory = whole["megabytes_at_minute"]
    later = {minute: value for minute, value in memory.items() if minute >= 1}
    slope = np.polyfit(list(later), list(later.values()), 1)[0] if len(later) > 1 else None
    rows = lines(folder / "whole.jsonl")
    same = {
        name: (folder / f"whole.{name}").read_bytes() == (folder / f"killed.{name}").read_bytes()
        for name in ("jsonl", "tracks.jsonl")
    }
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": platform.machine(),
        "minutes": arguments.minutes,
        "detector": arguments.detector,
        "frames": 60 * arguments.minutes * FPS,
        "rows": len(rows),
        "tracks_of_people": tracks_of_people(rows),
        "time_lines": len(lines(folder / "whole.tracks.jsonl")),
        "whole": whole,
        "megabytes_per_minute_after_the_first": None if slope is None else round(float(slope), 2),
        "megabytes_largest_difference_after_the_first": round(max(later.values()) - min(later.values()), 1)
        if later
        else None,
        "killed_after_frames": first["frames_in_journal"],
        "started_again": second,
        "same_files": same,
    }


if __name__ == "__main__":
    main()
