"""While one command writes to a run, other writing commands are refused at once, and reading ones work."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mien.cli import main

ROOT = Path(__file__).parents[2]
RECIPE = """
name = "tiny"
data = { name = "playhouse", options = { train = 10, val = 6, test = 6, seed = 3 } }
describe = { engine = "fake", model = "none" }
model = { width = 16, heads = 2, num_queries = 2 }
train = { epochs = 1, batch_size = 4 }
evaluate = { bootstrap = 20 }
run = { threads = 1 }
"""
HOLD = (
    "import sys; from pathlib import Path; from mien.locks import lock_run\n"
    "with lock_run(Path(sys.argv[1])):\n    print('held', flush=True); sys.stdin.read()"
)
WRITING: tuple[tuple[str, ...], ...] = (
    ("train", "tiny.toml"),
    ("describe", "tiny.toml"),
    ("describe", "tiny.toml", "--shard", "1/2"),
    ("describe", "audit", "tiny.toml"),
    ("evaluate", "runs/tiny"),
    ("report", "runs/tiny"),
)
READING: tuple[tuple[str, ...], ...] = (
    ("describe", "status", "tiny.toml"),
    ("describe", "export", "runs/tiny/descriptions.sqlite", "--out", "texts.jsonl"),
    ("compare", "runs/tiny"),
    ("predict", "a.png", "--run", "runs/tiny"),
    ("train", "tiny.toml", "--dry-run"),
)
Paint = Callable[..., Path]


def mien(*arguments: str) -> int:
    return main(list(arguments))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a recipe, and its run: described, trained, evaluated."""
    folder = tmp_path_factory.mktemp("two writers")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        (folder / "tiny.toml").write_text(RECIPE)
        assert [mien("describe", "tiny.toml"), mien("train", "tiny.toml")] == [0, 0]
        assert mien("evaluate", "runs/tiny") == 0
        yield folder


def content(run: Path) -> dict[str, bytes]:
    files = (file for file in run.rglob("*") if file.is_file() and file.suffix != ".lock")
    return {str(file): file.read_bytes() for file in files}


def test_writing_commands_are_refused_and_reading_ones_are_not(
    folder: Path, paint: Paint, capsys: pytest.CaptureFixture[str]
) -> None:
    paint("a.png").rename(folder / "a.png")
    before = content(folder / "runs" / "tiny")
    command = [sys.executable, "-c", HOLD, "runs/tiny"]
    process = subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        for arguments in WRITING:
            capsys.readouterr()
            assert mien(*arguments) == 4, arguments
            printed = capsys.readouterr()
            assert "is being written by another process" in printed.err, arguments
            assert f"process {process.pid} on " in printed.err, arguments
            assert "wait for it to end" in printed.err
            assert printed.out == ""
        assert content(folder / "runs" / "tiny") == before
        for arguments in READING:
            assert mien(*arguments) == 0, arguments
    finally:
        process.communicate("")
    for arguments in WRITING:
        assert mien(*arguments) == 0, arguments


def test_of_two_trainings_in_one_run_one_is_refused_and_events_are_not_mixed(folder: Path) -> None:
    command = [sys.executable, "-m", "mien", "train", "tiny.toml", "--out", "runs/twice"]
    shared = ["--set", "run.store=runs/tiny/descriptions.sqlite", "--set", "run.cache=runs/tiny/features"]
    longer = ["--set", "train.epochs=400", "--set", "train.patience=400"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    first = subprocess.Popen([*command, *shared, *longer], cwd=folder, env=environment)
    events = folder / "runs" / "twice" / "events.jsonl"
    try:
        while not events.exists() or '"epoch"' not in events.read_text():
            assert first.poll() is None
            time.sleep(0.05)
        start = time.monotonic()
        assert mien(*command[3:], *shared, *longer) == 4
        assert mien("evaluate", "runs/twice") == 4
        assert mien("predict", "tiny.toml", "--run", "runs/twice") == 4
        assert time.monotonic() - start < 60
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait()
    epochs = [json.loads(line).get("epoch") for line in events.read_text().splitlines()]
    epochs = [epoch for epoch in epochs if epoch is not None]
    assert epochs == list(range(1, len(epochs) + 1))
    assert mien(*command[3:], *shared) == 4  # no lock any more: another recipe's run
