"""`mien describe --cluster ray`, killed, interrupted or undisturbed, fills the store like one process."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mien.describe.store.store import Store
from mien.types import Description

pytest.importorskip("ray")
pytestmark = pytest.mark.slow

COUNT = 120
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    rows = []
    for number in range(COUNT):
        Image.new("RGB", (24, 24), (2 * number, 9, 9)).save(tmp_path / f"{number}.png")
        rows.append({"id": f"s{number}", "image": f"{number}.png", "labels": ["Peace"], "split": "all"})
    (tmp_path / "photos.jsonl").write_text("\n".join(map(json.dumps, rows)))
    path = tmp_path / "recipe.toml"
    path.write_text(
        'name = "photos"\n'
        f'[data]\nname = "manifest"\nroot = "{tmp_path / "photos.jsonl"}"\n'
        '[describe]\nengine = "fake"\nprompt = "paper"\n[describe.options]\ndelay = 0.2\n'
        "[run]\nbatch_size = 2\nactors = 2\n"
    )
    return path


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder whose path is short enough for the sockets of Ray."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def start(recipe: Path, short_folder: Path) -> Start:
    """start(out, "--cluster", "ray"): `mien describe` in a separate process group."""

    def begin(out: Path, *more: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "mien", "describe", str(recipe), "--out", str(out), "--json", *more]
        return subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "TMPDIR": str(short_folder)},
        )

    return begin


def read_store(out: Path) -> list[Description]:
    file = out / "descriptions.sqlite"
    if not file.exists():
        return []
    with Store(file, writable=False) as store:
        return list(store)


def holds_more_than(rows: int, out: Path) -> bool:
    return len(read_store(out)) > rows


def wait_for(what: Callable[[], Any], seconds: float = 90.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, f"still waiting after {seconds} s"
        time.sleep(0.1)


def finished(process: "subprocess.Popen[str]") -> dict[str, Any]:
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    assert "ray" not in stderr.casefold()
    table: dict[str, Any] = json.loads(stdout)
    return table


def ray_processes(folder: Path) -> list[str]:
    """Command lines of the processes that Ray started with this temporary folder."""
    lines = []
    for file in Path("/proc").glob("[0-9]*/environ"):
        try:
            if str(folder).encode() in file.read_bytes():
                lines.append((file.parent / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return lines


def test_a_killed_run_resumes(start: Start, tmp_path: Path, short_folder: Path) -> None:
    expected = finished(start(tmp_path / "expected"))
    killed = tmp_path / "killed"
    for rows in (1, COUNT // 3):
        process = start(killed, "--cluster", "ray")
        wait_for(partial(holds_more_than, rows, killed))
        process.kill()
        process.communicate()
        assert 0 < len(read_store(killed)) < COUNT
    wait_for(lambda: not ray_processes(short_folder))
    again = finished(start(killed, "--cluster", "ray"))
    assert read_store(killed) == read_store(tmp_path / "expected")
    assert again["described"] + again["already_described"] == expected["described"] == COUNT


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_drains_the_run_and_leaves_no_process_or_file_behind(
    start: Start, tmp_path: Path, short_folder: Path, number: signal.Signals
) -> None:
    out = tmp_path / "out"
    process = start(out, "--cluster", "ray")
    wait_for(partial(holds_more_than, 4, out))
    os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 128 + number, stderr
    assert json.loads(stdout)["described"] == len(read_store(out)) < COUNT
    assert ray_processes(short_folder) == []
    assert list(short_folder.iterdir()) == []
