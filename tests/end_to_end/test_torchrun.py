"""`mien train` started by torchrun: two processes train the same model as one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.factories.weights import assert_weights_close

from mien.cli import main
from mien.model.checkpoint import load_trained

ROOT = Path(__file__).parents[2]
# No dropout, whose random numbers differ by process. 22 rows do not divide evenly. Where a gradient is almost
# 0, Adam turns its rounding error into a step, which at a larger learning rate exceeds the tolerance.
RECIPE = """
name = "shared"
data = { name = "playhouse", options = { train = 22, val = 8, test = 4, seed = 3 } }
describe = { engine = "fake", model = "none" }
features = { augment = ["flip"], augment_views = 2 }
model = { width = 16, heads = 2, num_queries = 2, dropout = 0.0 }
train = { epochs = 4, patience = 4, batch_size = 5, accumulate = 2, ema = 0.9, lr = 1e-4 }
run = { threads = 1 }
"""


def torchrun(folder: Path, out: str, *, processes: int) -> subprocess.CompletedProcess[str]:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    launch = [sys.executable, *(launcher if processes > 1 else []), "-m", "mien"]
    return subprocess.run(
        [*launch, "train", "recipe.toml", "--out", out, "--set", "run.store=d.sqlite", "--json"],
        cwd=folder, capture_output=True, text=True, timeout=600, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


@pytest.mark.slow
def test_two_processes_train_the_model_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.toml").write_text(RECIPE)
    assert main(["describe", "recipe.toml", "--set", "run.store=d.sqlite"]) == 0
    documents = {}
    for processes in (1, 2):
        done = torchrun(tmp_path, f"by {processes}", processes=processes)
        assert done.returncode == 0, done.stderr[-3000:]
        documents[processes] = json.loads(done.stdout)  # only one process prints
    one, two = (load_trained(tmp_path / f"by {processes}") for processes in (1, 2))
    assert documents[1]["steps"] == documents[2]["steps"] == 12
    assert documents[1]["val_mAP"] == pytest.approx(documents[2]["val_mAP"], abs=1e-5)
    assert_weights_close(one.classifier.state_dict(), two.classifier.state_dict(), atol=1e-5)
    assert one.data == two.data
