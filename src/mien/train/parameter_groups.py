"""The parts of a model by name, and the learning rate factor of each.

A part is a piece of a parameter's dotted name, such as `queries`, `cross_attention` or `layers.0`. Two names
stand for several pieces: `head` and `text_embeddings`. `encoder` is all of a trainable encoder.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from torch import nn

from mien.errors import ConfigError, nearest_hint
from mien.recipe import TrainOptions

__all__ = ["freeze_parameters", "learning_rate_factors", "part_of", "tunable_parameters"]

# The names of modules in the classifier and the Q-Former.
_ALIASES: Final[Mapping[str, tuple[str, ...]]] = {
    "head": ("labels", "dimensions"),
    "queries": ("query_tokens",),
    "text_embeddings": ("word_embeddings", "position_embeddings"),
    # As version 0.1.0 called them.
    "words": ("word_embeddings",),
    "positions": ("position_embeddings",),
    "places": ("frame_embedding",),
}
_PARTS: Final = (
    "encoder",
    "head",
    "queries",
    "text_embeddings",
    "self_attention",
    "cross_attention",
    "query_feedforward",
    "text_feedforward",
)
_ENCODER: Final = "encoder."
_BELOW_LAYERS: Final = ("embeddings", "pre_layrnorm")  # the input of an encoder's first layer
_LAYER: Final = re.compile(r"^(?P<stack>.*?)\.?layers?\.(?P<index>\d+)\.")


def part_of(name: str) -> str:
    """The part that a parameter belongs to; a parameter of no known part goes by its module's name."""
    for part in _PARTS:
        if _belongs_to(name, part):
            return part
    pieces = name.split(".")
    # fusion.qformer.norm.weight: "norm"; fusion.image.0.weight: "image"
    return next((piece for piece in reversed(pieces[:-1]) if not piece.isdigit()), pieces[0])


def learning_rate_factors(names: Iterable[str], options: TrainOptions) -> dict[str, float]:
    """The factor of each parameter's learning rate, by the parameter's name.

    The factor is the product of `lr_scale` of all parts that the parameter belongs to, `layer_decay` to the
    power of the number of layers above it, and, for a trainable encoder, `encoder_lr` / `lr`. The input of a
    stack of layers counts as below its first layer, and a parameter outside any stack, such as a head, as
    above.

    Raises:
        ConfigError: `lr_scale` names an unknown part.
    """
    names = list(names)
    for part in options.lr_scale:
        # A known part may be missing, because one table serves all fusions of an ablation.
        if part not in _PARTS and not any(_belongs_to(name, part) for name in names):
            known = dict.fromkeys((*_PARTS, *(part_of(name) for name in names)))
            raise ConfigError(f"train.lr_scale names no part {part!r}", hint=nearest_hint(part, known))
    depths = _layers_above(names)
    factors = {}
    for name in names:
        factor = options.layer_decay ** depths[name]
        if name.startswith(_ENCODER):
            factor *= options.encoder_lr / options.lr
        for part, scale in options.lr_scale.items():
            factor *= scale if _belongs_to(name, part) else 1.0
        factors[name] = factor
    return factors


def freeze_parameters(model: nn.Module, options: TrainOptions) -> None:
    """Freeze the parameters whose learning rate factor is 0."""
    named = tunable_parameters(model)
    for name, factor in learning_rate_factors(named, options).items():
        if factor == 0:
            named[name].requires_grad_(False)


def tunable_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that `[train]` may tune, by name.

    Of an encoder, only those that require gradients, so that its layers are counted from the last of these.
    """
    return {
        name: weight
        for name, weight in model.named_parameters()
        if weight.requires_grad or not name.startswith(_ENCODER)
    }


def _belongs_to(name: str, part: str) -> bool:
    pieces = _ALIASES.get(part, (part,))
    if part in ("head", "encoder"):
        return name.partition(".")[0] in pieces  # a fusion may have a module called "labels", too
    return any(f".{piece}." in f".{name}." for piece in pieces)


def _layers_above(names: list[str]) -> dict[str, int]:
    """The number of layers above each parameter; for the input of a stack, one more than its layers."""
    found = {name: match for name in names if (match := _LAYER.match(name))}
    heights: dict[str, int] = {}
    for match in found.values():
        stack = match["stack"]
        heights[stack] = max(heights.get(stack, 0), int(match["index"]) + 1)
    depths = dict.fromkeys(names, 0)
    for name in names:
        if name in found:
            depths[name] = heights[found[name]["stack"]] - int(found[name]["index"])
        else:
            below = [stack for stack in heights if name.startswith(f"{stack}.")]
            if name.startswith(_ENCODER) and any(f".{piece}." in name for piece in _BELOW_LAYERS):
                below = [stack for stack in heights if stack.startswith(_ENCODER)]
            depths[name] = heights[max(below, key=len)] + 1 if below else 0
    return depths
