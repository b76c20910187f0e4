"""A classifier before its first step.

Goes in: a recipe, the sizes of its inputs. Comes out: a classifier with fresh weights, or with those that
`model.init` names.
Knows nothing about: data, optimisers, files of trained models.
"""

from dataclasses import dataclass

from mien.errors import ConfigError
from mien.labels import LabelSet
from mien.model.classifier import Classifier
from mien.model.encoder import encoder_of
from mien.model.fusion import build_fusion, fusion_class
from mien.model.pretrained import load_initial
from mien.recipe import Recipe

__all__ = ["InputSpec", "build_classifier"]


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSpec:
    """What a classifier reads: everything besides the recipe that determines its shape.

    None stands for an input that is absent. The signatures name the encoder and the tokenizer that made the
    inputs; they do not change the shape.
    """

    label_set: LabelSet
    image_dim: int | None
    vocab_size: int | None
    num_frames: int = 1
    num_views: int = 1
    dimensions: bool = True  # at least one sample has them
    vision_signature: str | None = None
    tokenizer_signature: str | None = None


def build_classifier(recipe: Recipe, spec: InputSpec) -> Classifier:
    """The classifier that `[model]` asks for, of what its fusion uses, with an encoder if one is to learn."""
    used = fusion_class(recipe.model.fusion)
    fusion = build_fusion(
        recipe.model,
        image_dim=spec.image_dim if used.uses_image else None,
        vocab_size=spec.vocab_size if used.uses_text else None,
        num_frames=spec.num_frames,
        num_views=spec.num_views,
    )
    load_initial(fusion, recipe.model.init)
    heads = recipe.train.heads
    if heads == "dimensions" and not spec.dimensions:
        raise ConfigError(
            "train.heads 'dimensions' has nothing to learn: no sample has valence, arousal and dominance",
            hint="set train.heads to 'labels', or use a data set with dimensions",
        )
    classifier = Classifier(
        fusion,
        len(spec.label_set),
        dimensions=heads != "labels" and spec.dimensions,
        labels=heads != "dimensions",
    )
    classifier.encoder = encoder_of(recipe)  # last: its random numbers change nobody else's
    return classifier
