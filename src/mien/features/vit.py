"""The computing half of a vision encoder: squares of pixels to tokens.

Goes in: a tower, how its own processor prepares a picture, which tokens are wanted. Comes out: a module
that takes pictures as they lie in memory.
Knows nothing about: files, how pictures become squares, whether anything learns.
"""

from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from mien.errors import WeightsError
from mien.features.vision_tower import Tower
from mien.recipe.features import FitMode, TokenChoice

__all__ = ["Preparation", "Vit"]

_AT_ONCE: Final = 32  # pictures, where no gradient is kept: more is no faster, and takes more memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """What an encoder's own processor does to a picture's numbers, once it is a square of `size` pixels."""

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fit: FitMode


class Vit(nn.Module):
    """A tower, given squares. `num_tokens` and `dim` are those of a picture's tokens."""

    def __init__(
        self, tower: Tower, preparation: Preparation, *, layer: int | None, tokens: TokenChoice
    ) -> None:
        super().__init__()
        self.tower = tower.model
        self.size = preparation.size
        self._takes_patches, self._patch_size = tower.takes_patches, tower.patch_size
        self._num_skipped = tower.num_skipped
        self._layers = tower.layers if layer is None else (layer,)
        for name, values in (("_mean", preparation.mean), ("_std", preparation.std)):
            self.register_buffer(name, torch.tensor(values).view(1, -1, 1, 1), persistent=False)
        self._mean: Tensor
        self._std: Tensor
        self.num_tokens, self.dim = self._measure()
        if tokens == "patches":
            self._skip_all_but_patches()

    def forward(self, squares: UInt8[Tensor, "batch row column channel"]) -> Float[Tensor, "batch token dim"]:
        """The tokens of each picture; the same for a picture whatever stands beside it."""
        pixels = squares.permute(0, 3, 1, 2).float() / 255
        return self._tokens((pixels - self._mean) / self._std)

    def of_subjects(
        self, squares: UInt8[Tensor, "batch picture row column channel"]
    ) -> Float[Tensor, "batch token dim"]:
        """The tokens of each subject's pictures, one after another: F pictures of P tokens give F x P."""
        pictures = squares.flatten(0, 1)
        at_once = len(pictures) if torch.is_grad_enabled() else _AT_ONCE
        tokens = torch.cat([self(some) for some in torch.split(pictures, at_once)])
        return tokens.reshape(len(squares), -1, self.dim)

    def _tokens(self, pixels: Float[Tensor, "batch channel row column"]) -> Float[Tensor, "batch token dim"]:
        inputs = self._as_patches(pixels) if self._takes_patches else {"pixel_values": pixels}
        answer = self.tower(**inputs, output_hidden_states=bool(self._layers))
        if self._layers:
            tokens = torch.cat([answer.hidden_states[layer] for layer in self._layers], dim=-1)
        else:
            tokens = answer.last_hidden_state
        return tokens[:, self._num_skipped :]

    def _as_patches(self, pixels: Float[Tensor, "batch channel row column"]) -> dict[str, Tensor]:
        """The picture as rows of patches, row by row, for models that take any number of them."""
        batch, channels, side, _ = pixels.shape
        patch = self._patch_size
        assert patch is not None, "such a model says how large its patches are"
        count = side // patch  # in a row, and in a column
        cut = pixels[:, :, : count * patch, : count * patch]
        cut = cut.reshape(batch, channels, count, patch, count, patch).permute(0, 2, 4, 3, 5, 1)
        return {
            "pixel_values": cut.reshape(batch, count * count, -1),
            "pixel_attention_mask": torch.ones(batch, count * count, dtype=torch.int32, device=pixels.device),
            "spatial_shapes": torch.tensor([[count, count]] * batch, device=pixels.device),
        }

    def _skip_all_but_patches(self) -> None:
        """Leaves out what stands before the patches, whatever it is called: class and register tokens."""
        patch, size = self._patch_size, self.size
        others = -1 if patch is None else self.num_tokens - (size // patch) ** 2
        if others < 0:
            raise WeightsError(
                f"the encoder gives {self.num_tokens} tokens of {size} x {size} pixels, and its "
                f"patches of {patch} pixels cannot be told among them",
                hint='set features.tokens to "all", or choose a ViT',
            )
        self._num_skipped += others
        self.num_tokens -= others

    @torch.inference_mode()
    def _measure(self) -> tuple[int, int]:
        """(tokens, dim) of a blank picture, which also shows that the parts fit together."""
        size, was_training = self.size, self.tower.training
        self.tower.eval()
        try:
            tokens = self._tokens(torch.zeros(1, 3, size, size))
        except IndexError as error:
            depth = getattr(self.tower.config, "num_hidden_layers", "?")
            raise WeightsError(
                f"features.layer {self._layers[0]} does not exist: the encoder has {depth} layers",
                hint="0 is what goes into the first layer, -1 what comes out of the last",
            ) from error
        except (ValueError, TypeError, RuntimeError, AttributeError) as error:
            raise WeightsError(
                f"the encoder cannot read pictures of {size} x {size} pixels: {error}",
                hint="choose a CLIP, SigLIP or DINOv2 model, or a LLaVA that sees through one",
            ) from error
        finally:
            self.tower.train(was_training)
        if tokens.ndim != 3:
            raise WeightsError(
                f"the encoder gives tokens of shape {tuple(tokens.shape[1:])}, not (token, dim)",
                hint="choose a ViT with patch tokens",
            )
        return tokens.shape[1], tokens.shape[2]
