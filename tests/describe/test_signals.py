"""A signal during a run: descriptions are kept, the lock is released, and the next run continues."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from mien.describe.store.store import Store

COUNT, BATCH = 24, 3
RECIPE = """
name = "signals"
[data]
name = "manifest"
root = "people.jsonl"
label_set = "caers"
[describe]
engine = "fake"
options = { delay = %s }
[run]
batch_size = 3
out = "run"
"""
Start = Callable[[float], "subprocess.Popen[str]"]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "run" / "descriptions.sqlite"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """start(0.2): a process that describes, with this many seconds per batch."""
    with (tmp_path / "people.jsonl").open("w") as file:
        for number in range(COUNT):
            Image.new("RGB", (16, 16), (number, 0, 9)).save(tmp_path / f"{number}.png")
            file.write(json.dumps({"id": f"s{number}", "image": f"{number}.png"}) + "\n")
    processes: list[subprocess.Popen[str]] = []

    def run(delay: float) -> subprocess.Popen[str]:
        (tmp_path / "recipe.toml").write_text(RECIPE % delay)
        command = [sys.executable, "-m", "mien", "describe", "recipe.toml", "--json"]
        process = subprocess.Popen(
            command, cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        processes.append(process)
        return process

    yield run
    for process in processes:
        process.kill()
        process.communicate()


def rows(store: Path) -> list[str]:
    if not store.exists() or not store.stat().st_size:
        return []
    with Store(store, writable=False) as opened:
        return [row.subject_id for row in opened]


def wait_until(done: Callable[[], object], process: subprocess.Popen[str]) -> None:
    for _ in range(6000):
        if done():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    raise AssertionError("nothing happened for a minute")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_run_after_the_batch(start: Start, store: Path, number: int, code: int) -> None:
    process = start(0.3)
    wait_until(lambda: store.exists() and rows(store), process)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    name = signal.Signals(number).name
    assert f"{name}: finishing work in progress" in err
    assert "Run the same command to resume" in err
    document = json.loads(out)
    kept = rows(store)
    assert document["stopped_by"] == name
    assert document["described"] == len(kept)
    assert 0 < len(kept) < COUNT
    assert len(kept) % BATCH == 0
    Store(store).close()  # the lock is free
    again, _ = start(0).communicate(timeout=60)
    assert json.loads(again)["already_described"] == len(kept)
    assert sorted(rows(store)) == sorted(f"s{number}" for number in range(COUNT))


def test_a_second_signal_ends_at_once(start: Start, store: Path) -> None:
    process = start(600)
    assert process.stderr is not None
    _read_until("to describe", process)
    time.sleep(0.5)  # until the engine is called; if that takes longer, the first signal ends the run
    process.send_signal(signal.SIGTERM)
    _read_until("finishing work in progress", process)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143
    with Store(store) as opened:
        assert list(opened) == []


def _read_until(text: str, process: subprocess.Popen[str]) -> None:
    assert process.stderr is not None
    assert any(text in line for line in iter(process.stderr.readline, ""))
