"""The parts of a model by name, and how fast each of them learns.

Goes in: the names of a model's parameters, `train.lr_scale`, `train.layer_decay`, `train.encoder_lr`. Comes
out: a part and a factor of the learning rate for each parameter.
Knows nothing about: optimisers, what the parameters do.

A part is whatever a parameter's name runs through, such as `queries`, `cross_attention`, `layers.0`; two
names stand for several: `head` and `text_embeddings`; `encoder` is all of an encoder that learns.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from torch import nn

from mien.errors import ConfigError, nearest_hint
from mien.recipe import TrainOptions

__all__ = ["freeze", "lr_factors", "part_of", "rated"]

# What the classifier and the Q-Former call theirs.
_ALIASES: Final[Mapping[str, tuple[str, ...]]] = {
    "head": ("labels", "dimensions"),
    "text_embeddings": ("words", "positions"),
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
_BELOW_LAYERS: Final = ("embeddings", "pre_layrnorm")  # of an encoder: what its first layer starts from
_LAYER: Final = re.compile(r"^(?P<stack>.*?)\.?layers?\.(?P<index>\d+)\.")


def part_of(name: str) -> str:
    """The part that a parameter is counted under; what is in none of them goes by its module's name."""
    for part in _PARTS:
        if _runs_through(name, part):
            return part
    pieces = name.split(".")
    # fusion.qformer.norm.weight: "norm"; fusion.image.0.weight: "image"
    return next((piece for piece in reversed(pieces[:-1]) if not piece.isdigit()), pieces[0])


def lr_factors(names: Iterable[str], options: TrainOptions) -> dict[str, float]:
    """The factor of each parameter's learning rate: all that `lr_scale` says of it, times its layer's; for an
    encoder that learns, from `encoder_lr`.

    `layer_decay` to the number of layers that stand above it; what a stack of layers starts from stands
    below all of them, and what is in no stack, such as a head, above. ConfigError for an unknown part.
    """
    names = list(names)
    for part in options.lr_scale:
        # A known part may be missing: one table serves all fusions of an ablation.
        if part not in _PARTS and not any(_runs_through(name, part) for name in names):
            known = dict.fromkeys((*_PARTS, *(part_of(name) for name in names)))
            raise ConfigError(f"train.lr_scale names no part {part!r}", hint=nearest_hint(part, known))
    depths = _depths(names)
    factors = {}
    for name in names:
        factor = options.layer_decay ** depths[name]
        if name.startswith(_ENCODER):
            factor *= options.encoder_lr / options.lr
        for part, scale in options.lr_scale.items():
            factor *= scale if _runs_through(name, part) else 1.0
        factors[name] = factor
    return factors


def freeze(model: nn.Module, options: TrainOptions) -> None:
    """What has a factor of 0 gets no gradient."""
    named = rated(model)
    for name, factor in lr_factors(named, options).items():
        if factor == 0:
            named[name].requires_grad_(False)


def rated(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that have a rate, by name: of an encoder those that learn, so that its layers are
    counted from the last of these."""
    return {
        name: weight
        for name, weight in model.named_parameters()
        if weight.requires_grad or not name.startswith(_ENCODER)
    }


def _runs_through(name: str, part: str) -> bool:
    wanted = _ALIASES.get(part, (part,))
    if part in ("head", "encoder"):
        return name.partition(".")[0] in wanted  # a fusion may have labels of its own
    return any(f".{one}." in f".{name}." for one in wanted)


def _depths(names: list[str]) -> dict[str, int]:
    """How many layers stand above each parameter, and for what a stack starts from, all and one."""
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
