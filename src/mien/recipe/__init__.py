"""Recipes: what one can say, section by section, and how it is read from TOML."""

from mien.recipe.data import DataOptions
from mien.recipe.describe import DescribeOptions
from mien.recipe.evaluate import EvaluateOptions
from mien.recipe.features import FeatureOptions
from mien.recipe.load import load_recipe
from mien.recipe.model import ModelOptions
from mien.recipe.options import Options
from mien.recipe.recipe import Recipe
from mien.recipe.run import RunOptions
from mien.recipe.train import TrainOptions
from mien.recipe.zero_shot import ZeroShotOptions

__all__ = [
    "DataOptions",
    "DescribeOptions",
    "EvaluateOptions",
    "FeatureOptions",
    "ModelOptions",
    "Options",
    "Recipe",
    "RunOptions",
    "TrainOptions",
    "ZeroShotOptions",
    "load_recipe",
]
