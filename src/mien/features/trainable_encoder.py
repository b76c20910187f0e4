"""A vision encoder that is trained with the classifier, whole or through adapters."""

from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from mien.errors import ConfigError
from mien.features.lora import add_lora
from mien.features.vision_encoder import VisionEncoderSpec, VisionTransformer
from mien.recipe.train import EncoderTraining, LoraPart

__all__ = ["TrainableEncoder", "build_trainable_encoder"]


class TrainableEncoder(nn.Module):
    """Makes tokens of subjects' images, with gradients. Made by `build_trainable_encoder`.

    Weights that are not trained are neither saved nor required when a state is loaded: they come from the
    encoder's own files.

    Attributes:
        num_tokens: Tokens per image.
        dim: Width of a token.
        size: Side of an image, in pixels.
    """

    def __init__(self, vit: VisionTransformer, *, whole: bool) -> None:
        super().__init__()
        self.vit = vit
        self._whole = whole
        self.num_tokens, self.dim, self.size = vit.num_tokens, vit.dim, vit.size
        self._frozen = {
            name
            for name, weight in (*self.named_parameters(), *self.named_buffers())
            if not weight.requires_grad
        }
        self.register_state_dict_post_hook(_drop_frozen_weights)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_post_hook(_ignore_missing_frozen)  # type: ignore[no-untyped-call]
        self.train(mode=False)

    def forward(
        self, pixels: UInt8[Tensor, "batch image height width channel"]
    ) -> Float[Tensor, "batch token dim"]:
        """The tokens of each subject's images, one image after another."""
        return self.vit.encode_subjects(pixels)

    def train(self, mode: bool = True) -> "TrainableEncoder":
        """Sets the mode as in any module, except that a frozen tower stays in evaluation mode."""
        super().train(mode)
        if not (self._whole and any(weight.requires_grad for weight in self.parameters())):
            self.vit.eval()
        return self


def build_trainable_encoder(
    spec: VisionEncoderSpec,
    training: EncoderTraining,
    *,
    rank: int,
    alpha: float,
    where: LoraPart,
) -> TrainableEncoder | None:
    """Builds an encoder to train, on the CPU; None if it is "frozen".

    Only weights that the tokens pass through are trained: not those of a pooler, nor those of layers above
    `features.layer`.

    Args:
        spec: The encoder.
        training: "full" trains its weights, "lora" adapters.
        rank: Rank of the adapters.
        alpha: Scale of the adapters, divided by the rank.
        where: Which layers get adapters.

    Raises:
        WeightsError: If the encoder's files do not fit together.
        ConfigError: If no weight would be trained.
    """
    if training == "frozen":
        return None
    vit = spec.build()
    if training == "lora":
        add_lora(vit.tower, rank=rank, alpha=alpha, where=where)
    for weight in _weights_without_gradient(vit):
        weight.requires_grad = False
    if not any(weight.requires_grad for weight in vit.parameters()):
        raise ConfigError(
            f"train.encoder {training!r} has nothing to learn: the tokens of features.layer {spec.layer} "
            "pass through none of its weights",
            hint='choose a later features.layer, or set train.encoder to "frozen"',
        )
    return TrainableEncoder(vit, whole=training == "full")


def _weights_without_gradient(vit: VisionTransformer) -> list[nn.Parameter]:
    """The trainable weights that no gradient of the tokens reaches.

    Found in the graph of a forward pass; a backward pass would take twice as long again.
    """
    vit.eval()  # without dropout, nothing is drawn at random
    with torch.enable_grad():
        tokens = vit(torch.zeros(1, vit.size, vit.size, 3, dtype=torch.uint8))
    reached, visited, waiting = set[int](), set[Any](), [tokens.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in visited:
            continue
        visited.add(node)
        reached.add(id(getattr(node, "variable", None)))  # leaves of the graph hold a weight
        waiting += [earlier for earlier, _ in node.next_functions]
    return [weight for weight in vit.parameters() if weight.requires_grad and id(weight) not in reached]


def _drop_frozen_weights(module: nn.Module, state: dict[str, Any], prefix: str, _: dict[str, Any]) -> None:
    assert isinstance(module, TrainableEncoder)
    for name in module._frozen:
        state.pop(prefix + name, None)


def _ignore_missing_frozen(module: nn.Module, incompatible: Any) -> None:
    """Changes `incompatible.missing_keys` in place, as torch documents it."""
    assert isinstance(module, TrainableEncoder)
    endings = tuple(f".{name}" for name in module._frozen)
    incompatible.missing_keys[:] = [
        name for name in incompatible.missing_keys if not (name in module._frozen or name.endswith(endings))
    ]
