"""Every recipe that ships can be loaded, and says what its name says."""

from pathlib import Path

import pytest

from mien.config import load_recipe
from mien.describe.prompts import prompt
from mien.labels import label_set
from mien.registry import resolve

ROOT = Path(__file__).parent.parent
RECIPES = sorted((ROOT / "recipes").rglob("*.toml"))


def test_there_are_recipes() -> None:
    assert {path.stem for path in RECIPES} >= {"playhouse", "photos", "emotic", "caers", "bold"}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_loads_and_names_parts_that_exist(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    assert prompt(recipe.describe.prompt).id == recipe.describe.prompt
    assert len(label_set(recipe.data.label_set)) > 1
    for kind, name in (
        ("dataset", recipe.data.name),
        ("engine", recipe.describe.engine),
        ("fusion", recipe.model.fusion),
    ):
        assert isinstance(resolve(kind, name), type)
