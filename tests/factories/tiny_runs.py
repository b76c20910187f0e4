"""A run that is trained in a second, for tests of what comes after training."""

from __future__ import annotations

from pathlib import Path

import pytest

import mien
from mien.cli import main

__all__ = ["train_tiny_describing_run", "train_tiny_run"]

_RECIPE = """
name = "tiny"
data = { name = "playhouse", options = { train = 8, val = 4, test = 4, seed = 3 } }
model = { fusion = "image_only", width = 8, heads = 2, layers = 1, num_queries = 2 }
train = { epochs = 1, batch_size = 4 }
run = { threads = 1 }
"""

_DESCRIBING = """
name = "words"
data = { name = "playhouse", options = { train = 8, val = 4, test = 4, seed = 3 } }
describe = { engine = "fake" }
model = { fusion = "concat", width = 8, heads = 2, layers = 1 }
train = { epochs = 1, batch_size = 4 }
evaluate = { bootstrap = 20 }
run = { threads = 1 }
"""


def train_tiny_run(folder: Path) -> Path:
    """Trains a classifier of drawn images alone, with a cache of its own; returns the run directory."""
    (folder / "tiny.toml").write_text(_RECIPE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        assert main(["train", str(folder / "tiny.toml"), "--out", str(folder / "run")]) == 0
    return folder / "run"


def train_tiny_describing_run(folder: Path) -> Path:
    """Trains a classifier of images and of texts that a fake engine writes, and evaluates it."""
    (folder / "words.toml").write_text(_DESCRIBING)
    recipe, cache = mien.load_recipe(folder / "words.toml"), folder / "cache"
    mien.describe(recipe, out=folder / "words", cache=cache)
    trained = mien.train(recipe, out=folder / "words", cache=cache)
    mien.evaluate(trained, cache=cache)
    return folder / "words"
