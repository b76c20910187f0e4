"""A vision encoder that learns along with what reads it.

Goes in: an encoder as it is found, what of it is to learn. Comes out: a module from squares of pixels to the
tokens of each subject, whose saved state is what it has learned and nothing else.
Knows nothing about: optimisers, files of pictures, where subjects stand in them.
"""

from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from mien.errors import ConfigError
from mien.features.lora import add_lora
from mien.features.vision import VisionSource
from mien.features.vit import Vit
from mien.recipe.train import EncoderTraining, LoraPart

__all__ = ["TrainableEncoder", "trainable_encoder"]


class TrainableEncoder(nn.Module):
    """Tokens of subjects of one or more pictures, with gradients. Make one with `trainable_encoder`.

    What never learns is neither saved nor wanted when a state is loaded: it comes from the encoder's own
    files.
    """

    def __init__(self, vit: Vit, *, whole: bool) -> None:
        super().__init__()
        self.vit = vit
        self._whole = whole
        self.num_tokens, self.dim, self.size = vit.num_tokens, vit.dim, vit.size
        self._given = {
            name
            for name, weight in (*self.named_parameters(), *self.named_buffers())
            if not weight.requires_grad
        }
        self.register_state_dict_post_hook(_leave_out_what_was_given)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_post_hook(_want_only_what_was_learned)  # type: ignore[no-untyped-call]
        self.train(mode=False)

    def forward(
        self, squares: UInt8[Tensor, "batch picture row column channel"]
    ) -> Float[Tensor, "batch token dim"]:
        """The tokens of a subject's pictures, one picture after another."""
        return self.vit.of_subjects(squares)

    def train(self, mode: bool = True) -> "TrainableEncoder":
        """As of any module; but a tower that keeps its weights keeps its mode, too."""
        super().train(mode)
        if not (self._whole and any(weight.requires_grad for weight in self.parameters())):
            self.vit.eval()
        return self


def trainable_encoder(
    source: VisionSource,
    training: EncoderTraining,
    *,
    rank: int,
    alpha: float,
    where: LoraPart,
) -> TrainableEncoder | None:
    """A new encoder on the CPU, of which all learns ("full") or adapters do ("lora"); None if it is "frozen".

    Either way only so far as the tokens that are read pass through it: not what makes one vector of a
    picture, nor the layers above `features.layer`. Raises WeightsError if the files do not fit together,
    ConfigError if nothing is left to learn.
    """
    if training == "frozen":
        return None
    vit = source.build()
    if training == "lora":
        add_lora(vit.tower, rank=rank, alpha=alpha, where=where)
    for weight in _not_passed_through(vit):
        weight.requires_grad = False
    if not any(weight.requires_grad for weight in vit.parameters()):
        raise ConfigError(
            f"train.encoder {training!r} has nothing to learn: the tokens of features.layer {source.layer} "
            "pass through none of its weights",
            hint='choose a later features.layer, or set train.encoder to "frozen"',
        )
    return TrainableEncoder(vit, whole=training == "full")


def _not_passed_through(vit: Vit) -> list[nn.Parameter]:
    """The weights that may learn, and that no gradient of a blank picture's tokens would reach.

    Told by what the forward pass was computed from; going backward would cost twice as much again.
    """
    vit.eval()  # nothing is drawn at random
    with torch.enable_grad():
        tokens = vit(torch.zeros(1, vit.size, vit.size, 3, dtype=torch.uint8))
    reached, seen, waiting = set[int](), set[Any](), [tokens.grad_fn]
    while waiting:
        step = waiting.pop()
        if step is None or step in seen:
            continue
        seen.add(step)
        reached.add(id(getattr(step, "variable", None)))  # where the graph ends in a weight
        waiting += [earlier for earlier, _ in step.next_functions]
    return [weight for weight in vit.parameters() if weight.requires_grad and id(weight) not in reached]


def _leave_out_what_was_given(
    module: nn.Module, state: dict[str, Any], prefix: str, _: dict[str, Any]
) -> None:
    assert isinstance(module, TrainableEncoder)
    for name in module._given:
        state.pop(prefix + name, None)


def _want_only_what_was_learned(module: nn.Module, found: Any) -> None:
    """`found.missing_keys` is changed in place, as torch says."""
    assert isinstance(module, TrainableEncoder)
    ends = tuple(f".{name}" for name in module._given)
    found.missing_keys[:] = [
        name for name in found.missing_keys if not (name in module._given or name.endswith(ends))
    ]
