"""`mien train` in a process that is killed several times, with every option on: the weights are identical to
those of an uninterrupted training."""

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mien.cli import main
from mien.model.checkpoint import MODEL_FILE, PREVIOUS_FILE, RESUME_FILE, read_tensors

ROOT = Path(__file__).parents[2]
RECIPE = """
name = "everything"
data = { name = "playhouse", options = { train = 22, val = 8, test = 8, seed = 3 } }
describe = { engine = "fake", model = "none" }
features = { augment = ["flip", "crop", "color"], augment_views = 3 }
model = { width = 16, heads = 2, num_queries = 2 }
run = { threads = 1, workers = 2 }
[train]
epochs = 6
patience = 6
batch_size = 4
accumulate = 2
ema = 0.9
description_dropout = 0.3
sampler = "balanced"
loss = "asl"
"""
STEPS = 18
# The command, changed to save its state after every step and to be killed at one of them: after the step, or
# while its state is written.
PROGRAM = """
import os, signal, sys
from mien import files
from mien.cli import main
from mien.train import loop
from mien.train.trainer import Trainer

at, when = int(sys.argv[1]), sys.argv[2]
loop.train.__kwdefaults__["save_seconds"] = 0.0
train_step, save_state = Trainer.train_step, Trainer.save_state

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def step_and_die(self, parts):
    loss = train_step(self, parts)
    if when == "step" and self.state.step == at:
        die()
    return loss

def save_and_die(self, *given):
    if when == "write" and self.state.step == at:
        files.os.fsync = die
    save_state(self, *given)

Trainer.train_step, Trainer.save_state = step_and_die, save_and_die
sys.exit(main(sys.argv[3:]))
"""


def run_and_die(folder: Path, step: int, when: str) -> subprocess.CompletedProcess[str]:
    (folder / "program.py").write_text(PROGRAM)
    arguments = ["train", str(folder / "recipe.toml"), "--out", str(folder / "killed")]
    shared = ["--set", f"run.store={folder / 'd.sqlite'}", "--set", f"run.cache={folder / 'features'}"]
    return subprocess.run(
        [sys.executable, str(folder / "program.py"), str(step), when, *arguments, *shared],
        cwd=folder, capture_output=True, text=True, timeout=600, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


@pytest.mark.slow
def test_a_training_that_is_killed_at_random_steps_ends_with_identical_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(RECIPE)
    shared = ["--set", f"run.store={tmp_path / 'd.sqlite'}", "--set", f"run.cache={tmp_path / 'features'}"]
    whole = [str(recipe), "--out", str(tmp_path / "whole"), *shared]
    assert main(["describe", *whole]) == 0
    assert main(["train", *whole]) == 0

    out = tmp_path / "killed"
    first, second, third = sorted(random.Random(5).sample(range(2, STEPS), 3))
    died = run_and_die(tmp_path, first, "step")
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert read_tensors(out / RESUME_FILE)[1]["state"]["step"] == first - 1

    # Killed while it writes: the previous state is kept under its second name.
    died = run_and_die(tmp_path, second, "write")
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert not (out / RESUME_FILE).exists()
    assert len(list(out.glob("*resume*.tmp"))) == 1
    assert read_tensors(out / PREVIOUS_FILE)[1]["state"]["step"] == second - 1

    # Killed once more, with the last state damaged: a warning, and the previous state is used.
    died = run_and_die(tmp_path, third, "step")
    assert died.returncode == -signal.SIGKILL, died.stderr
    torn = out / RESUME_FILE
    torn.write_bytes(torn.read_bytes()[:-10])
    kept = read_tensors(out / PREVIOUS_FILE)[1]["state"]["step"]
    done = run_and_die(tmp_path, 0, "never")
    assert done.returncode == 0, done.stderr
    assert f"{RESUME_FILE} is damaged" in done.stderr
    assert f"resuming from {PREVIOUS_FILE}, of step {kept}" in done.stderr

    assert not list(out.glob("*resume*"))  # no partial file is left
    events = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    assert [one["step"] for one in events if one["event"] == "resumed"] == [first - 1, second - 1, kept]
    assert f"steps       {STEPS}" in done.stdout
    (one, about), (other, of_killed) = (
        read_tensors(tmp_path / name / MODEL_FILE) for name in ("whole", "killed")
    )
    assert about["result"] == of_killed["result"]
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
