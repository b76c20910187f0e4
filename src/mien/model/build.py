"""Builds a classifier with initial weights from a recipe."""

from dataclasses import dataclass

from mien.errors import ConfigError
from mien.labels import LabelSet
from mien.model.classifier import Classifier
from mien.model.encoder import build_encoder
from mien.model.fusion import build_fusion, fusion_class
from mien.model.label_names import LabelTokens
from mien.model.pretrained import load_initial_weights
from mien.recipe import Recipe

__all__ = ["InputSpec", "build_classifier"]


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSpec:
    """What a classifier reads: everything besides the recipe that determines its shape.

    Attributes:
        label_set: The labels, in order.
        image_dim: Width of an image token; None without images.
        vocab_size: Number of token ids; None without descriptions.
        num_frames: Frames per subject.
        num_views: Views per frame.
        dimensions: Whether at least one sample has valence, arousal and dominance.
        vision_signature: Identifies the encoder that made the image tokens; does not change the shape.
        tokenizer_signature: Identifies the tokenizer that made the token ids; does not change the shape.
        label_tokens: Per label, the token ids of each of its names; empty without descriptions.
    """

    label_set: LabelSet
    image_dim: int | None
    vocab_size: int | None
    num_frames: int = 1
    num_views: int = 1
    dimensions: bool = True
    vision_signature: str | None = None
    tokenizer_signature: str | None = None
    label_tokens: LabelTokens = ()


def build_classifier(recipe: Recipe, spec: InputSpec) -> Classifier:
    """Builds the classifier of `[model]`, with an encoder if `train.encoder` trains one.

    Args:
        recipe: Which fusion, heads, encoder and `model.init`.
        spec: The inputs. Those that the fusion does not use are ignored.

    Raises:
        ConfigError: If the fusion or the labels' names need an input that is absent, or there is nothing to
            learn.
        WeightsError: If the weights of `model.init` are not available or do not fit.
    """
    fusion_type = fusion_class(recipe.model.fusion)
    fusion = build_fusion(
        recipe.model,
        image_dim=spec.image_dim if fusion_type.uses_image else None,
        vocab_size=spec.vocab_size if fusion_type.uses_text else None,
        num_frames=spec.num_frames,
        num_views=spec.num_views,
    )
    load_initial_weights(fusion, recipe.model.init)
    heads = recipe.train.heads
    if heads == "dimensions" and not spec.dimensions:
        raise ConfigError(
            "train.heads 'dimensions' has nothing to learn: no sample has valence, arousal and dominance",
            hint="set train.heads to 'labels', or use a dataset with dimensions",
        )
    reads_names = recipe.model.label_names and fusion_type.uses_text
    if reads_names and not spec.label_tokens:
        raise ConfigError(
            "model.label_names needs the names of the labels as tokens, and the inputs have none",
            hint="build the inputs with their labels, or set model.label_names to false",
        )
    classifier = Classifier(
        fusion,
        len(spec.label_set),
        dimensions=heads != "labels" and spec.dimensions,
        labels=heads != "dimensions",
        label_tokens=spec.label_tokens if reads_names else (),
    )
    classifier.encoder = build_encoder(recipe)  # last, so that its random draws change no other weights
    return classifier
