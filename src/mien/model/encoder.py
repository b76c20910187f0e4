"""The vision encoder of a recipe: frozen, or trained with the classifier if `train.encoder` says so."""

from mien.features.trainable_encoder import TrainableEncoder, build_trainable_encoder
from mien.features.vision_encoder import VisionEncoderSpec, find_vision_encoder
from mien.model.fusion import fusion_class
from mien.recipe import FeatureOptions, Recipe
from mien.weights.dtypes import resolve_dtype

__all__ = ["build_encoder", "resolve_vision_encoder", "trains_encoder"]


def resolve_vision_encoder(options: FeatureOptions, device: str = "cpu") -> VisionEncoderSpec:
    """The encoder that `[features]` names, as its files have it."""
    return find_vision_encoder(
        options.vision,
        layer=options.layer,
        fit=options.fit,
        tokens=options.tokens,
        dtype=resolve_dtype(options.dtype, device),
        device=device,
    )


def trains_encoder(recipe: Recipe) -> bool:
    """Whether the classifier trains the encoder, and therefore reads pixels instead of cached features."""
    return recipe.train.encoder != "frozen" and fusion_class(recipe.model.fusion).uses_image


def build_encoder(recipe: Recipe) -> TrainableEncoder | None:
    """The encoder to train, before its first step; None if the encoder is frozen."""
    if not trains_encoder(recipe):
        return None
    options = recipe.train
    return build_trainable_encoder(
        resolve_vision_encoder(recipe.features),
        options.encoder,
        rank=options.lora_rank,
        alpha=options.lora_alpha,
        where=options.lora_layers,
    )
