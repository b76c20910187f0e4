"""Several processes learn the same as one."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.factories.weights import assert_weights_close

from mien.batches.batch import SplitData
from mien.model.checkpoint import load_trained
from mien.recipe import Recipe
from mien.train.distributed import SINGLE_PROCESS, World, join_world
from mien.train.trainer import Trainer

ROOT = Path(__file__).parent.parent.parent

# The program of each process. 50 samples in batches of 7: shards of 4 and 3 rows, and of 1 and 0 rows.
PROGRAM = """
import json, sys
from pathlib import Path
import torch
from tests.factories.distributed import recipe, split
from mien.train.distributed import join_world
from mien.train.loop import train

out, train_options = Path(sys.argv[1]), json.loads(sys.argv[2])
with join_world("cpu") as world:
    torch.set_num_threads(1)
    with world.main_process_first():
        data, val = split("train", 50, out / "features"), split("val", 20, out / "features")
    assert world.size == int(sys.argv[3])
    train(recipe(train_options), data, val, out / "run", world=world, save_seconds=0.0)
    print("rank", world.rank, "done", flush=True)
"""


def run(out: Path, processes: int, options: str) -> None:
    launch = [sys.executable]
    if processes > 1:
        launch += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    out.mkdir()
    program = out / "program.py"
    program.write_text(PROGRAM)
    done = subprocess.run(
        [*launch, str(program), str(out), options, str(processes)],
        cwd=ROOT, capture_output=True, text=True, timeout=600, check=False,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("done") == processes


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        '{"epochs": 5, "ema": 0.9, "accumulate": 2, "description_dropout": 0.2, "divergence": 5}',
        '{"epochs": 3}',
    ],
    ids=["accumulating", "plain"],
)
def test_two_processes_learn_the_same_as_one(tmp_path: Path, options: str) -> None:
    for processes in (1, 2):
        run(tmp_path / str(processes), processes, options)
    one, two = (load_trained(tmp_path / name / "run") for name in ("1", "2"))
    assert one.result.steps == two.result.steps >= 20
    assert one.result.best_score == pytest.approx(two.result.best_score, abs=1e-5)
    assert_weights_close(one.classifier.state_dict(), two.classifier.state_dict(), atol=1e-5)
    assert (tmp_path / "2" / "run" / "events.jsonl").read_text().count('"trained"') == 1


def test_without_torchrun_there_is_a_single_process() -> None:
    with join_world("cpu") as world:
        assert world is SINGLE_PROCESS
    assert world.is_main
    assert world.all_reduce_sum(1.5, torch.device("cpu")) == world.broadcast(1.5, torch.device("cpu")) == 1.5
    with world.main_process_first():
        pass


@pytest.mark.parametrize("count", [1, 2, 7, 12])
def test_the_shards_of_all_processes_are_the_batch(count: int) -> None:
    rows = np.arange(count) * 3
    parts = [World(rank=rank, size=5).shard(rows) for rank in range(5)]
    assert sorted(np.concatenate(parts)) == list(rows)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def gradients(trainer: Trainer, worlds: list[World]) -> tuple[float, dict[str, torch.Tensor]]:
    """The loss and gradients of the first step in float64, summed over these processes."""
    model = trainer.classifier.double()
    model.zero_grad()
    total = 0.0
    for world in worlds:
        trainer.world = world
        for part in next(iter(trainer.remaining_steps())):
            image = None if part.batch.image is None else part.batch.image.double()
            output = model(image, part.batch.text_ids, part.batch.text_mask)
            loss = trainer.loss(output, part.batch.targets, part.batch.dimensions, part.fraction)
            loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
    return total, {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}


@pytest.mark.parametrize("processes", [2, 3, 6])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_the_gradients_of_all_processes_add_up_to_those_of_one(
    make: Callable[..., SplitData], recipe: Callable[..., Recipe], processes: int, accumulate: int
) -> None:
    """Batches of 5 over 2, 3 and 6 processes, so some may have no row; a third has no dimensions."""
    options = {"batch_size": 5, "accumulate": accumulate, "description_dropout": 0.5}
    trainer = Trainer(
        recipe({"dropout": 0.0}, options), make("train", 18), make("val", 8, seed=1), torch.device("cpu")
    )
    loss, expected = gradients(trainer, [SINGLE_PROCESS])
    expected = {name: gradient.clone() for name, gradient in expected.items()}
    found_loss, found = gradients(trainer, [World(rank=rank, size=processes) for rank in range(processes)])
    assert found_loss == pytest.approx(loss, rel=1e-6)
    assert found.keys() == expected.keys()
    assert max(float(gradient.abs().max()) for gradient in found.values()) > 0.05
    for name, gradient in found.items():
        assert float((gradient - expected[name]).abs().max()) < 1e-7, name
