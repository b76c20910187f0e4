"""All of the room in one call: samples and descriptions in, a trained run directory out.

Goes in: a recipe, samples and descriptions, folders. Comes out: what `loop.train` leaves.
Knows nothing about: data sets, how descriptions came to be, evaluation.

For several trainings on the same data make the splits once, with `InputBuilder`, and call `train` for each:
a split with images and texts serves every fusion, which takes what it uses.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mien.batches.builder import Descriptions, InputBuilder
from mien.errors import DataError
from mien.features.encode import EncodeProgress
from mien.labels import LabelSet
from mien.model.checkpoint import TrainResult
from mien.model.fusion import fusion_class
from mien.recipe import Recipe
from mien.train.loop import TrainProgress, train
from mien.types import Sample

__all__ = ["TRAIN", "fit"]

TRAIN = "train"  # the split that is learned from


def fit(
    recipe: Recipe,
    samples: Mapping[str, Sequence[Sample]],
    label_set: LabelSet,
    *,
    descriptions: Descriptions,
    cache: Path,
    out: Path,
    on_encode: Callable[[EncodeProgress], None] | None = None,
    on_train: Callable[[TrainProgress], None] | None = None,
) -> TrainResult:
    """Encodes what the fusion looks at and the cache lacks, trains, and leaves the model in `out`.

    `samples` by split, of which "train" and `train.select_on` are used; `descriptions` by subject id, of
    which a fusion without text needs none. Raises DataError if a split or a description is missing.
    """
    wanted = (TRAIN, recipe.train.select_on)
    missing = [split for split in wanted if not samples.get(split)]
    if missing:
        raise DataError(
            f"training needs a split {missing[0]!r}, and there are {', '.join(sorted(samples)) or 'none'}",
            hint=f"give some samples the split {missing[0]!r}",
        )
    fusion = fusion_class(recipe.model.fusion)
    builder = InputBuilder.from_recipe(recipe, cache)
    data, val = (
        builder.split(
            split,
            samples[split],
            label_set,
            image=fusion.uses_image,
            descriptions=descriptions if fusion.uses_text else None,
            on_progress=on_encode,
        )
        for split in wanted
    )
    return train(recipe, data, val, out, on_progress=on_train)
