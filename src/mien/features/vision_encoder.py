"""Vision encoders: images become patch tokens.

A `VisionEncoderSpec` identifies an encoder without building it. If all features are cached, it is never
built.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from mien.digests import digest
from mien.errors import WeightsError
from mien.features.device import open_device
from mien.features.vision_tower import Tower, identify_tower, load_tower
from mien.media.images import Square
from mien.recipe.features import FitMode, TokenChoice
from mien.weights.dtypes import Dtype
from mien.weights.model_folder import find_encoder_folder, read_json

__all__ = [
    "Preprocessing",
    "VisionEncoder",
    "VisionEncoderSpec",
    "VisionTransformer",
    "find_vision_encoder",
]

_FILES: Final = ("*.json", "*.safetensors")
_VERSION: Final = 1  # raise it when the same files and options give other tokens
_CHUNK: Final = 32  # images at a time without gradients: more is not faster, and takes more memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """What a model's image processor does.

    Attributes:
        size: Side of the square image, in pixels.
        mean: Subtracted from each channel, on the scale of 0 to 1.
        std: Divides each channel.
        fit: How an image becomes a square.
    """

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fit: FitMode


class VisionTransformer(nn.Module):
    """A vision tower with its preprocessing: pixels in, tokens out.

    Args:
        tower: The model, and how it is read.
        preprocessing: The model's own.
        layer: The hidden state to read; None for the tower's default.
        tokens: "all", or "patches" to leave out class and register tokens.

    Attributes:
        num_tokens: Tokens per image.
        dim: Width of a token.
        size: Side of an image, in pixels.

    Raises:
        WeightsError: If the parts do not fit together.
    """

    def __init__(
        self, tower: Tower, preprocessing: Preprocessing, *, layer: int | None, tokens: TokenChoice
    ) -> None:
        super().__init__()
        self.tower = tower.model
        self.size = preprocessing.size
        self._takes_patches, self._patch_size = tower.takes_patches, tower.patch_size
        self._num_skipped = tower.num_skipped
        self._layers = tower.layers if layer is None else (layer,)
        for name, values in (("_mean", preprocessing.mean), ("_std", preprocessing.std)):
            self.register_buffer(name, torch.tensor(values).view(1, -1, 1, 1), persistent=False)
        self._mean: Tensor
        self._std: Tensor
        self.num_tokens, self.dim = self._measure()
        if tokens == "patches":
            self._skip_other_tokens()

    def forward(
        self, pixels: UInt8[Tensor, "batch height width channel"]
    ) -> Float[Tensor, "batch token dim"]:
        """The tokens of each image. An image's tokens do not depend on the rest of the batch."""
        pixel_values = pixels.permute(0, 3, 1, 2).float() / 255
        return self._tokens((pixel_values - self._mean) / self._std)

    def encode_subjects(
        self, pixels: UInt8[Tensor, "batch image height width channel"]
    ) -> Float[Tensor, "batch token dim"]:
        """The tokens of each subject's images, one image after another: F images give F x `num_tokens`."""
        images = pixels.flatten(0, 1)
        chunk = len(images) if torch.is_grad_enabled() else _CHUNK
        tokens = torch.cat([self(part) for part in torch.split(images, chunk)])
        return tokens.reshape(len(pixels), -1, self.dim)

    def _tokens(
        self, pixel_values: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch token dim"]:
        inputs = self._patches(pixel_values) if self._takes_patches else {"pixel_values": pixel_values}
        output = self.tower(**inputs, output_hidden_states=bool(self._layers))
        if self._layers:
            tokens = torch.cat([output.hidden_states[layer] for layer in self._layers], dim=-1)
        else:
            tokens = output.last_hidden_state
        return tokens[:, self._num_skipped :]

    def _patches(self, pixel_values: Float[Tensor, "batch channel height width"]) -> dict[str, Tensor]:
        """The inputs of models that take any number of patches, row by row."""
        batch, channels, side, _ = pixel_values.shape
        patch = self._patch_size
        assert patch is not None, "such a model says how large its patches are"
        count = side // patch  # per row, and per column
        cut = pixel_values[:, :, : count * patch, : count * patch]
        cut = cut.reshape(batch, channels, count, patch, count, patch).permute(0, 2, 4, 3, 5, 1)
        device = pixel_values.device
        return {
            "pixel_values": cut.reshape(batch, count * count, -1),
            "pixel_attention_mask": torch.ones(batch, count * count, dtype=torch.int32, device=device),
            "spatial_shapes": torch.tensor([[count, count]] * batch, device=device),
        }

    @property
    def patch_grid(self) -> tuple[int, int] | None:
        """(other, side): tokens in front of the patches, and patches per row and column, row by row.

        None if the tokens are not those of a square of patches.
        """
        patch = self._patch_size
        side = math.isqrt(self.num_tokens) if patch is None else self.size // patch
        others = self.num_tokens - side**2
        return (others, side) if others >= 0 and side else None

    def _skip_other_tokens(self) -> None:
        """Leaves out the tokens in front of the patches: class and register tokens."""
        patch, size = self._patch_size, self.size
        others = -1 if patch is None else self.num_tokens - (size // patch) ** 2
        if others < 0:
            raise WeightsError(
                f"the encoder gives {self.num_tokens} tokens for {size} x {size} pixels, among which patches "
                f"of {patch} pixels cannot be identified",
                hint='set features.tokens to "all", or choose a ViT',
            )
        self._num_skipped += others
        self.num_tokens -= others

    @torch.inference_mode()
    def _measure(self) -> tuple[int, int]:
        """(tokens, dim) of a blank image, which also shows that the parts fit together."""
        size, was_training = self.size, self.tower.training
        self.tower.eval()
        try:
            tokens = self._tokens(torch.zeros(1, 3, size, size))
        except IndexError as error:
            depth = getattr(self.tower.config, "num_hidden_layers", "?")
            raise WeightsError(
                f"features.layer {self._layers[0]} does not exist: the encoder has {depth} layers",
                hint="0 is the input of the first layer, -1 the output of the last",
            ) from error
        except (ValueError, TypeError, RuntimeError, AttributeError) as error:
            raise WeightsError(
                f"the encoder cannot read images of {size} x {size} pixels: {error}",
                hint="choose a CLIP, SigLIP or DINOv2 model, or a LLaVA with such an encoder",
            ) from error
        finally:
            self.tower.train(was_training)
        if tokens.ndim != 3:
            raise WeightsError(
                f"the encoder gives tokens of shape {tuple(tokens.shape[1:])}, not (token, dim)",
                hint="choose a ViT with patch tokens",
            )
        return tokens.shape[1], tokens.shape[2]


class VisionEncoder:
    """A frozen vision encoder on a device. Its weights are float32, and its matrix products of `dtype`.

    Attributes:
        num_tokens: Tokens per image.
        dim: Width of a token.
        patch_grid: As that of `VisionTransformer`.
    """

    def __init__(self, vit: VisionTransformer, *, device: torch.device, dtype: Dtype = "float32") -> None:
        self._vit = vit.requires_grad_(requires_grad=False).eval().to(device)
        self.patch_grid = vit.patch_grid
        self._device = device
        self._dtype = getattr(torch, dtype)
        self.num_tokens, self.dim = vit.num_tokens, vit.dim

    @torch.inference_mode()
    def encode(
        self, pixels: UInt8[np.ndarray, "batch image height width channel"]
    ) -> Float[Tensor, "batch token dim"]:
        """The tokens of each subject's images, one image after another.

        Args:
            pixels: Square images as `VisionEncoderSpec.square` makes them, 0 to 255.
        """
        images = torch.from_numpy(pixels).to(self._device)
        is_lower = self._dtype is not torch.float32
        with torch.autocast(self._device.type, dtype=self._dtype, enabled=is_lower):
            return self._vit.encode_subjects(images).float()


class VisionEncoderSpec:
    """Which vision encoder, with which options; builds it when needed. Made by `find_vision_encoder`."""

    def __init__(
        self,
        folder: Path,
        *,
        layer: int | None,
        fit: FitMode,
        device: torch.device,
        tokens: TokenChoice = "all",
        dtype: Dtype = "float32",
    ) -> None:
        if not (folder / "config.json").exists():
            raise WeightsError(f"{folder} has no config.json", hint="name the folder of a Hugging Face model")
        self.folder = folder
        self.layer = layer
        self.tokens = tokens
        self.dtype = dtype
        self.device = device
        self.preprocessing = _read_preprocessing(folder, fit)

    @cached_property
    def signature(self) -> str:
        """A digest of everything that changes the tokens: weights, config, layer, size, normalization."""
        options: dict[str, str] = {} if self.tokens == "all" else {"tokens": self.tokens}
        if self.dtype != "float32":  # absent at its default, so that features and runs of 0.1.0 stay valid
            options["dtype"] = self.dtype
        return digest(
            {
                "version": _VERSION,
                "tower": identify_tower(self.folder),
                "layer": self.layer,
                "preparation": asdict(self.preprocessing),
                **options,
            }
        )

    @cached_property
    def encoder(self) -> VisionEncoder:
        """The frozen encoder, built at the first access; WeightsError if its files do not fit together."""
        return VisionEncoder(self.build(), device=self.device, dtype=self.dtype)

    @cached_property
    def shape(self) -> tuple[int, int]:
        """(token, dim) of one image."""
        vit = self.build()
        return vit.num_tokens, vit.dim

    def build(self) -> VisionTransformer:
        """A new copy of the encoder's module on the CPU; WeightsError if its files do not fit together."""
        return VisionTransformer(
            load_tower(self.folder), self.preprocessing, layer=self.layer, tokens=self.tokens
        )

    @property
    def square(self) -> Square:
        """The square that the encoder reads; called with an image of any size, it makes the square image."""
        return Square(self.preprocessing.size, self.preprocessing.fit)


def find_vision_encoder(
    name_or_path: str | Path,
    *,
    layer: int | None = None,
    fit: FitMode = "letterbox",
    tokens: TokenChoice = "all",
    dtype: Dtype = "float32",
    device: str = "cpu",
) -> VisionEncoderSpec:
    """Finds a vision encoder: a ViT (CLIP, SigLIP, DINOv2, ...), or that of a LLaVA.

    Args:
        name_or_path: "playhouse", a folder, or a name on the Hugging Face Hub.
        layer: The hidden state to read, counted from the embeddings (0) or from the end (-1). None: the layer
            that a LLaVA was trained to read; for other models the last state, after its final norm.
        fit: How an image becomes a square.
        tokens: "all" includes class and register tokens, if the model has them; a LLaVA's are those that it
            was trained with. "patches" leaves them out.
        dtype: Type of its matrix products.
        device: Where to build it.

    Raises:
        WeightsError: If files are missing or not understood.
        EngineError: If the device cannot be used.
    """
    target = open_device(device)
    folder = find_encoder_folder(str(name_or_path), embedded_as="llava", patterns=_FILES)
    return VisionEncoderSpec(folder.path, layer=layer, fit=fit, device=target, tokens=tokens, dtype=dtype)


def _read_preprocessing(folder: Path, fit: FitMode) -> Preprocessing:
    processor = _read_image_processor(folder)
    try:
        mean, std = processor["image_mean"], processor["image_std"]
        if not processor.get("do_normalize", True):
            mean, std = [0.0] * len(mean), [1.0] * len(std)
        return Preprocessing(
            size=_image_size(processor), mean=tuple(map(float, mean)), std=tuple(map(float, std)), fit=fit
        )
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(
            f"the image processor of {folder} is not understood: {error!r}",
            hint="it must name image_mean, image_std and one square size",
        ) from error


def _read_image_processor(folder: Path) -> Mapping[str, Any]:
    """The settings of the image processor; versions of transformers write them to different files."""
    alone, joined = folder / "preprocessor_config.json", folder / "processor_config.json"
    if alone.exists():
        return read_json(alone)
    if joined.exists():
        settings = read_json(joined).get("image_processor")
        if isinstance(settings, dict):
            return settings
    raise WeightsError(
        f"{folder} has no image processor, which says what the encoder expects",
        hint=f"copy the model's {alone.name} next to its weights",
    )


def _image_size(processor: Mapping[str, Any]) -> int:
    """The side of the square: of the crop, else of the whole image, else of as many patches as allowed."""
    if "max_num_patches" in processor:
        return math.isqrt(int(processor["max_num_patches"])) * int(processor["patch_size"])
    size = processor["crop_size"] if processor.get("do_center_crop") else processor["size"]
    sides = {int(side) for side in (size.values() if isinstance(size, dict) else [size])}
    if len(sides) != 1:
        raise ValueError(f"size {size} is not a square")
    return sides.pop()
