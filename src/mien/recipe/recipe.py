"""A recipe: one frozen section per step, with defaults.

There are two kinds of keys. Everything outside `[run]` changes the results and is part of the digest;
`[run]` changes only speed and place. The options of one dataset, engine, fusion or loss are declared next to
its class; a recipe passes them on as the table `options`.
"""

from __future__ import annotations

from typing import Final

from pydantic import Field, JsonValue

from mien.digests import digest
from mien.recipe.data import DataOptions
from mien.recipe.describe import DescribeOptions, MarkStyle
from mien.recipe.evaluate import EvaluateOptions
from mien.recipe.features import FeatureOptions
from mien.recipe.model import ModelOptions
from mien.recipe.options import Options
from mien.recipe.run import RunOptions
from mien.recipe.train import TrainOptions
from mien.recipe.zero_shot import ZeroShotOptions

__all__ = ["Recipe"]

_SURENESS: Final = ("coverage", "answered")


class Recipe(Options):
    """A whole experiment, from data to scores. Load one with `load_recipe`."""

    name: str = Field(min_length=1)
    """Name of the experiment; its run directory is runs/NAME."""

    data: DataOptions = DataOptions()
    """Who is in which image."""

    describe: DescribeOptions = DescribeOptions()
    """Which model writes the descriptions."""

    features: FeatureOptions = FeatureOptions()
    """How images and descriptions become tokens."""

    model: ModelOptions = ModelOptions()
    """How tokens are fused."""

    train: TrainOptions = TrainOptions()
    """How the weights are learned."""

    zero_shot: ZeroShotOptions = ZeroShotOptions()
    """How labels are scored without training."""

    evaluate: EvaluateOptions = EvaluateOptions()
    """How the model is scored."""

    run: RunOptions = RunOptions()
    """Speed and place; not part of the digest."""

    @property
    def feature_marking(self) -> MarkStyle:
        """How the subject is marked for the encoder: as in `[describe]`, unless `[features]` sets it."""
        return self.features.marking or self.describe.marking

    def to_json(self) -> dict[str, JsonValue]:
        """The resolved recipe as plain JSON values, `[run]` included."""
        return self.model_dump(mode="json")

    def digest(self) -> str:
        """The digest of everything that changes the results, which is everything outside `[run]`."""
        # Without keys that 0.1.0 did not have, where they change nothing, so that its digests stay valid.
        new = {"dtype"} if self.features.dtype == "float32" else set()
        unused = {"zero_shot": True} if self.zero_shot == ZeroShotOptions() else {}
        off = {} if self.model.label_names else {"model": {"label_names"}}
        usual = {key for key in _SURENESS if getattr(self.evaluate, key) == getattr(EvaluateOptions(), key)}
        return digest(
            self.model_dump(
                mode="json", exclude={"run": True, "features": new, "evaluate": usual, **off, **unused}
            )
        )
