"""A calibrated run on Playhouse that reads images and descriptions, and its ONNX files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from mien.cli import main

_RECIPE = """
name = "tiny"
data = { name = "playhouse", options = { train = 8, val = 8, test = 6, seed = 3 } }
describe = { engine = "fake" }
features = { max_text_tokens = 40 }
model = { fusion = "qformer", width = 16, heads = 2, layers = 2, num_queries = 2, label_names = true }
train = { epochs = 1, batch_size = 8 }
evaluate = { bootstrap = 20, calibration = "platt" }
run = { threads = 1 }
"""


@dataclass(frozen=True)
class Exported:
    """A run, its recipe, its images, and the folder of its ONNX files."""

    run: Path
    recipe: Path
    images: Path
    onnx: Path


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    home = tmp_path_factory.mktemp("onnx")
    recipe, run, cache = home / "tiny.toml", home / "run", home / "cache"
    recipe.write_text(_RECIPE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(cache))
        assert main(["describe", "run", str(recipe), "--out", str(run)]) == 0
        assert main(["train", str(recipe), "--out", str(run)]) == 0
        assert main(["evaluate", str(run)]) == 0
        assert main(["export", "onnx", str(run), "--out", str(home / "onnx")]) == 0
    return Exported(run=run, recipe=recipe, images=cache, onnx=home / "onnx")
