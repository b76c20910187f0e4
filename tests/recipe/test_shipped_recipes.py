"""Every shipped recipe and grid loads, and names existing components."""

from pathlib import Path

import pytest

from mien.ablation.grid import Grid, load_grid
from mien.describe.prompts import get_prompt
from mien.labels import label_set
from mien.recipe import Recipe, load_recipe
from mien.registry import registered_names, resolve

ROOT = Path(__file__).parents[2]
GRIDS = sorted((ROOT / "recipes" / "ablations").glob("*.toml"))
RECIPES = sorted(set((ROOT / "recipes").rglob("*.toml")) - set(GRIDS))
PAPERS = ("emotic-paper", "caers-paper", "bold-paper")


def _require_components(recipe: Recipe) -> None:
    assert get_prompt(recipe.describe.prompt).id == recipe.describe.prompt
    assert len(label_set(recipe.data.label_set)) > 1
    for kind, name in (
        ("dataset", recipe.data.name),
        ("engine", recipe.describe.engine),
        ("fusion", recipe.model.fusion),
    ):
        assert isinstance(resolve(kind, name), type)


def _recipes(grid: Grid) -> dict[str, Recipe]:
    return {variant.name: grid.recipe(variant) for variant in grid.variants}


def test_recipes_and_grids_are_found() -> None:
    assert {path.stem for path in RECIPES} >= {"playhouse", "photos", "emotic", "caers", "bold", *PAPERS}
    assert {path.stem for path in GRIDS} >= {
        *("modality", "box", "words", "prompt", "describer", "length", "encoder", "backbone", "finetune"),
        *("init", "loss", "queries", "size", "missing"),
    }


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_loads_and_names_existing_components(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    _require_components(recipe)


@pytest.mark.parametrize("path", GRIDS, ids=lambda path: path.stem)
def test_a_grid_loads_and_its_variants_all_differ(path: Path) -> None:
    grid = load_grid(path)
    assert grid.name == f"{grid.table['name']}-{path.stem}"
    assert grid.reference_variant.name == grid.reference
    made = {}
    for variant in grid.variants:
        recipe = grid.recipe(variant, seed=0)
        _require_components(recipe)
        unnamed = recipe.model_copy(update={"name": "any"})
        controls = (variant.texts, variant.scored_texts, variant.train_share)
        made[variant.name] = (unnamed.digest(), *controls)
    assert len(set(made.values())) == len(made)


def test_the_grid_of_modalities_has_every_fusion() -> None:
    recipes = _recipes(load_grid(ROOT / "recipes" / "ablations" / "modality.toml"))
    assert {recipe.model.fusion for recipe in recipes.values()} == set(registered_names("fusion"))


@pytest.mark.parametrize("name", PAPERS)
def test_a_paper_recipe_follows_the_paper_and_marks_what_is_inferred(name: str) -> None:
    path = ROOT / "recipes" / f"{name}.toml"
    recipe = load_recipe(path)
    assert (recipe.describe.model, recipe.describe.prompt) == ("llava-hf/llava-1.5-13b-hf", "paper")
    assert recipe.feature_marking == recipe.describe.marking == "red_box"
    model = recipe.model
    assert (model.layers, model.width, model.heads, model.num_queries, model.cross_every) == (
        12, 768, 12, 32, 2,
    )  # fmt: skip
    text = path.read_text(encoding="utf-8")
    training = text.index("[train]")
    # The paper does not state rates, batch, epochs, loss, initial weights and encoder.
    assert "[inferred]" in text[text.rindex("\n\n", 0, training) : training]
    for knob in ("init =", "vision =", "layer =", "max_text_tokens ="):
        line = next(line for line in text.splitlines() if line.startswith(knob))
        assert "[inferred]" in line, line
