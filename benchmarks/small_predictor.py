"""What the benchmarks of `mien predict` share: a small run, a detector, images, and the time of a command.

The run is trained in a few seconds, with the embedded models and a model as in `recipes/playhouse.toml`. The
detector is an RT-DETRv2 of random weights with its true processor: it finds no one, one, or a few people.
"""

from __future__ import annotations

import json
import os
import platform
import random
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from PIL import Image

SOURCE: Final = Path(__file__).parents[1] / "src"
_SIZE: Final = (560, 420)  # pixels; from 576 on, mien would decode a image at half its size for the VLM
# The pause of the garbage collector belongs to a process whose command line is its own.
MIEN: Final = (sys.executable, "-c", "import sys; from mien.cli import main; sys.exit(main())")
_RECIPE: Final = """
name = "small"
data = { name = "playhouse", options = { train = 8, val = 4, test = 4, seed = 3 } }
describe = { max_new_tokens = MAX_NEW_TOKENS }
model = { fusion = "qformer", width = 96, heads = 4, layers = 2, num_queries = 8 }
train = { epochs = 1, batch_size = 4 }
run = { batch_size = 32 }
"""


def hardware() -> str:
    return f"{platform.machine()}, {os.cpu_count()} cores, one used"


def write_recipe(folder: Path, max_new_tokens: int) -> Path:
    folder.mkdir(exist_ok=True)
    recipe = folder / "small.toml"
    recipe.write_text(_RECIPE.replace("MAX_NEW_TOKENS", str(max_new_tokens)))
    return recipe


def train_run(folder: Path, *, max_new_tokens: int = 120) -> Path:
    """Trains in this process, with a cache in the folder; returns the run directory."""
    import mien

    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    out = f"run.out={json.dumps(str(folder / 'run'))}"
    recipe = mien.load_recipe(write_recipe(folder, max_new_tokens), overrides=[out])
    mien.describe(recipe)
    mien.train(recipe)
    return folder / "run"


def build_detector(folder: Path) -> Path:
    from tests.factories.tiny_detectors import build_tiny_detector

    return build_tiny_detector("rt_detr_v2", folder, seed=2, side=224)


def draw_images(folder: Path, count: int, first: int = 0) -> list[Path]:
    """Drawn scenes as JPEG files."""
    from mien.playhouse.draw import draw_scene
    from mien.playhouse.scene import sample_scene

    folder.mkdir(exist_ok=True)
    files = []
    for number in range(first, first + count):
        scene = draw_scene(sample_scene(random.Random(f"image {number}")))
        files.append(folder / f"{number:05}.jpg")
        scene.image.resize(_SIZE, Image.Resampling.BICUBIC).save(files[-1], quality=90)
    return files


def cpu_seconds(command: Sequence[str], folder: Path, source: Path = SOURCE) -> float:
    """CPU seconds of a child process and the kernel; its failure ends the benchmark."""
    return measure(command, folder, source)["seconds"]


def measure(command: Sequence[str], folder: Path, source: Path = SOURCE) -> Mapping[str, float]:
    """CPU seconds of a child process, and the most memory that it took, in megabytes of 1e6 bytes."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(source), str(SOURCE.parent)]),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "OMP_NUM_THREADS": "1",
    }
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)}\n{(folder / 'log.txt').read_text()}")
    return {"seconds": usage.ru_utime + usage.ru_stime, "megabytes": usage.ru_maxrss * 1024 / 1e6}


def rounded(values: Mapping[str, Sequence[float]], digits: int = 3) -> dict[str, Any]:
    return {name: [round(value, digits) for value in row] for name, row in values.items()}
