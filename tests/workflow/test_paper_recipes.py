"""The paper's recipes and the improved ones open and are planned, with small models on drawn scenes in the
official layouts."""

import importlib
from pathlib import Path

import pytest

from mien.playhouse.layouts.bold import sample_clips, write_bold
from mien.recipe import load_recipe
from mien.workflow import steps
from mien.workflow.experiment import open_experiment

ROOT = Path(__file__).parent.parent.parent
COUNTS = {"train": 10, "val": 6, "test": 6}
SMALL = (
    "describe.model=playhouse",
    "describe.dtype=float32",
    "features.vision=playhouse",
    "features.tokenizer=playhouse",
    "model.init=random",
    "model.width=24",
    "run.device=cpu",
    "run.workers=0",
    "run.threads=1",
)


@pytest.fixture(scope="module")
def layouts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("layouts")
    for layout in ("emotic", "caers"):
        importlib.import_module(f"mien.playhouse.layouts.{layout}").write(root / layout, **COUNTS, seed=5)
    # Shorter clips than in the release, to save time.
    clips = {split: sample_clips(split, count, 5, num_frames=16) for split, count in COUNTS.items()}
    write_bold(root / "bold", clips)
    return root


@pytest.mark.parametrize("kind", ["paper", "better"])
@pytest.mark.parametrize("layout", ["emotic", "caers", "bold"])
def test_a_recipe_opens_and_is_planned_on_the_layout_of_its_dataset(
    layout: str, kind: str, layouts: Path, tmp_path: Path
) -> None:
    overrides = [*SMALL, f"data.root={layouts / layout}"]
    overrides += ["data.options.dev_share=0.4", "data.options.num_frames=3"] if layout == "bold" else []
    recipe = load_recipe(ROOT / "recipes" / f"{layout}-{kind}.toml", overrides)
    experiment = open_experiment(recipe, out=tmp_path / "run", cache=tmp_path / "cache")
    plan = steps.plan_training(experiment)
    assert plan.fusion == "qformer"
    assert plan.parameters == plan.trained
    assert plan.batch == 32
    assert all(one.samples for one in plan.inputs)
    assert not (tmp_path / "run").exists()
    for split in recipe.evaluate.splits:
        assert experiment.samples(split)
