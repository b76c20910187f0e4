"""A worker process that someone else kills, as the kernel does when the memory runs out."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from mien.ablation.workers import worker_pool
from mien.data.emotic import mat_subprocess
from mien.errors import DataError, EngineError

ROOT = Path(__file__).parents[2]
TRAINING = """
import os, signal, sys
from mien.errors import MienError
from mien.train.distributed import join_world

try:
    with join_world("cpu") as world:
        world.barrier()
        if world.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        for _ in range(1000):
            world.broadcast(1.0, "cpu")
except MienError as error:
    open("error", "w").write(f"{type(error).__name__}: {error}")
"""


def do(job: str, folder: Path) -> str:
    if job == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    (folder / job).touch()
    return job


def do_all(jobs: Sequence[str], folder: Path) -> None:
    with worker_pool(1) as pool:
        list(pool.map(do, jobs, [folder] * len(jobs)))


def test_a_killed_worker_of_an_ablation_is_named_and_what_is_finished_is_kept(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="worker process was killed, perhaps because") as caught:
        do_all(("first", "killed", "last"), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["first"]
    assert caught.value.exit_code == 6
    assert "run again" in caught.value.hint


@pytest.mark.parametrize(
    ("number", "kind"), [("KILL", EngineError), ("TERM", EngineError), ("SEGV", DataError)]
)
def test_a_killed_reader_of_a_mat_file_is_not_blamed_on_the_file(
    number: str, kind: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\nkill -{number} $$\n")
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    path = tmp_path / "Annotations.mat"
    with pytest.raises(kind, match="killed" if kind is EngineError else "crashed") as caught:
        list(mat_subprocess.read_mat_in_subprocess(path, image_root=tmp_path))
    assert str(path) in str(caught.value)


@pytest.mark.slow
def test_a_killed_process_of_a_training_is_named_by_the_others(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(TRAINING)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [sys.executable, *launcher, "program.py"],
        cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode != 0
    # The launcher may end the other process before it notices.
    error = tmp_path / "error"
    assert (
        not error.exists() or error.read_text() == "EngineError: another process of this training has ended"
    )
    assert "defect" not in done.stderr
