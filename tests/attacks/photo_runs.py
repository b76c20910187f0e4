"""Small runs on photos made by code: a recipe, its manifest, and the commands that make a run of it."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from PIL import Image

from mien.cli import main

__all__ = ["GRID", "make_run", "photo_row", "write_recipe"]

_RECIPE = """
name = "{name}"
data = {{ name = "manifest", root = "{root}"{options} }}
describe = {{ engine = "fake", model = "none" }}
model = {{ width = 16, heads = 2, num_queries = 2 }}
train = {{ epochs = 1, batch_size = 4 }}
evaluate = {{ bootstrap = 20 }}
run = {{ threads = 1 }}
"""
GRID = """
name = "two"
base = "tiny.toml"
seeds = [0]
reference = "fused"
[variants.fused]
[variants.image]
set = ["model.fusion=image_only"]
"""


def photo_row(split: str, label: str, **cells: Any) -> dict[str, Any]:
    """A row of a manifest with an image of its own, unless `cells` name one."""
    return {"split": split, "labels": [label], "box": [4, 4, 40, 40], **cells}


def write_recipe(
    folder: Path, rows: Iterable[dict[str, Any]], *, options: str = "", name: str = "tiny"
) -> Path:
    """Writes photos, their manifest and a recipe into a new folder, and returns the recipe's path."""
    photos = folder / "photos"
    photos.mkdir(parents=True)
    lines = []
    for number, row in enumerate(rows):
        image = row.get("image", f"{number}.png")
        color = (20 * number % 256, 90, 255 - 20 * number % 256)
        Image.new("RGB", (64, 48), color).save(photos / image)
        lines.append(json.dumps({**row, "image": image}))
    (photos / "people.jsonl").write_text("".join(f"{line}\n" for line in lines))
    root = json.dumps(str(photos / "people.jsonl"))[1:-1]
    (folder / "tiny.toml").write_text(_RECIPE.format(name=name, root=root, options=options))
    (folder / "grid.toml").write_text(GRID)
    return folder / "tiny.toml"


def make_run(recipe: Path, run: Path, *settings: str, evaluated: bool = True) -> Path:
    """Describes and trains a recipe, and evaluates the run unless told otherwise."""
    changes = [part for setting in settings for part in ("--set", setting)]
    assert main(["describe", str(recipe), "--out", str(run), *changes]) == 0
    assert main(["train", str(recipe), "--out", str(run), *changes]) == 0
    if evaluated:
        assert main(["evaluate", str(run)]) == 0
    return run
