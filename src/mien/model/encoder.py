"""The vision encoder of a recipe: as it is found, and as a part that learns, if `train.encoder` says so.

Goes in: a recipe. Comes out: an encoder that is frozen, or one for the classifier to own.
Knows nothing about: data, classifiers, optimisers.
"""

from mien.features.trainable_encoder import TrainableEncoder, trainable_encoder
from mien.features.vision import VisionSource, find_vision
from mien.model.fusion import fusion_class
from mien.recipe import FeatureOptions, Recipe

__all__ = ["encoder_of", "learns_pictures", "vision_of"]


def vision_of(options: FeatureOptions, device: str = "cpu") -> VisionSource:
    """The encoder that `[features]` names, with the weights of its files."""
    return find_vision(
        options.vision, layer=options.layer, fit=options.fit, tokens=options.tokens, device=device
    )


def learns_pictures(recipe: Recipe) -> bool:
    """Whether the classifier is given pictures, for it owns the encoder, and not features."""
    return recipe.train.encoder != "frozen" and fusion_class(recipe.model.fusion).uses_image


def encoder_of(recipe: Recipe) -> TrainableEncoder | None:
    """The encoder that learns along, before its first step; None if features are made by a frozen one."""
    if not learns_pictures(recipe):
        return None
    options = recipe.train
    return trainable_encoder(
        vision_of(recipe.features),
        options.encoder,
        rank=options.lora_rank,
        alpha=options.lora_alpha,
        where=options.lora_layers,
    )
