"""A classifier before its first step.

Goes in: a recipe, the sizes of its inputs. Comes out: a classifier with fresh weights, or with those that
`model.init` names.
Knows nothing about: data, optimisers, files of trained models.
"""

from dataclasses import dataclass
from typing import Self

import torch

from mien.errors import ConfigError
from mien.labels import LabelSet
from mien.model.classifier import Classifier
from mien.model.fusion import build_fusion, fusion_class
from mien.model.pretrained import load_initial
from mien.recipe.recipe import Recipe
from mien.train.batch import SplitData
from mien.train.encoder import encoder_of

__all__ = ["Sizes", "fresh_classifier", "start_from_average"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """What a classifier's shape follows from, besides the recipe. None: there is no such input."""

    label_set: LabelSet
    image_dim: int | None
    vocab_size: int | None
    num_frames: int = 1
    num_views: int = 1
    dimensions: bool = True  # some sample has them

    @classmethod
    def of(cls, data: SplitData) -> Self:
        """The sizes of a split."""
        return cls(
            label_set=data.label_set,
            image_dim=data.image_dim,
            vocab_size=data.vocab_size,
            num_frames=data.num_frames,
            num_views=data.num_views,
            dimensions=bool(data.dimensions.isfinite().any()),
        )


def fresh_classifier(recipe: Recipe, sizes: Sizes) -> Classifier:
    """The classifier that `[model]` asks for, of what its fusion uses, with an encoder if one is to learn."""
    used = fusion_class(recipe.model.fusion)
    fusion = build_fusion(
        recipe.model,
        image_dim=sizes.image_dim if used.uses_image else None,
        vocab_size=sizes.vocab_size if used.uses_text else None,
        num_frames=sizes.num_frames,
        num_views=sizes.num_views,
    )
    load_initial(fusion, recipe.model.init)
    heads = recipe.train.heads
    if heads == "dimensions" and not sizes.dimensions:
        raise ConfigError(
            "train.heads 'dimensions' has nothing to learn: no sample has valence, arousal and dominance",
            hint="set train.heads to 'labels', or use a data set with dimensions",
        )
    classifier = Classifier(
        fusion,
        len(sizes.label_set),
        dimensions=heads != "labels" and sizes.dimensions,
        labels=heads != "dimensions",
    )
    classifier.encoder = encoder_of(recipe)  # last: its random numbers change nobody else's
    return classifier


def start_from_average(classifier: Classifier, data: SplitData) -> None:
    """The first guess of the heads becomes the average answer of the data."""
    exclusive = data.label_set.exclusive
    means = torch.nanmean(data.dimensions, dim=0)
    classifier.start_from(data.targets.mean(dim=0), means, exclusive=exclusive)
