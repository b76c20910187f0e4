"""A frozen vision encoder: pictures become patch tokens.

Goes in: pictures of any size (already marked), a name or path of a CLIP-style ViT or of a LLaVA.
Comes out: float tokens, and a signature that changes with whatever changes them.
Knows nothing about: files of pictures, boxes, caches, what the tokens are used for.

The signature is known before the encoder is built: where all features are cached, it need not be.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn

from mien.digests import digest
from mien.errors import WeightsError
from mien.features.device import open_device
from mien.features.folders import find_folder, read_json
from mien.features.tower import Tower, identify_tower, load_tower
from mien.images import fit as fit_image
from mien.types import FitMode, TokenChoice

__all__ = ["Preparation", "VisionEncoder", "VisionSource", "find_vision", "load_vision"]

_FILES: Final = ("*.json", "*.safetensors")
_VERSION: Final = 1  # raise it when the same files and options give other tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """What an encoder's own processor does to a picture's numbers, once it is a square of `size` pixels."""

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fit: FitMode


class VisionEncoder:
    """Pictures to tokens, without gradients. Make one with `load_vision`."""

    def __init__(
        self,
        tower: Tower,
        preparation: Preparation,
        *,
        layer: int | None,
        tokens: TokenChoice,
        signature: str,
        device: torch.device,
    ) -> None:
        self._tower = tower
        self._num_skipped = tower.num_skipped
        self._model: nn.Module = tower.model.requires_grad_(requires_grad=False).eval().to(device)
        self._preparation = preparation
        self._layers = tower.layers if layer is None else (layer,)
        self._mean = torch.tensor(preparation.mean, device=device).view(1, -1, 1, 1)
        self._std = torch.tensor(preparation.std, device=device).view(1, -1, 1, 1)
        self.device = device
        self.signature = signature
        self.num_tokens, self.dim = self._measure()
        if tokens == "patches":
            self._skip_all_but_patches()

    def fit(self, image: Image.Image) -> Image.Image:
        """The square that the encoder sees of a picture; `encode` does this to whatever is no such square."""
        return fit_image(image, self._preparation.size, self._preparation.fit)

    @torch.inference_mode()
    def encode(self, images: Sequence[Image.Image]) -> Float[Tensor, "batch token dim"]:
        """The tokens of each picture; the same for a picture whatever stands beside it."""
        size = (self._preparation.size, self._preparation.size)
        fitted = (image if image.size == size else self.fit(image) for image in images)
        squares = np.stack([np.asarray(image) for image in fitted])
        # uint8 (batch, row, column, channel) to float (batch, channel, row, column) in 0..1
        pixels = torch.from_numpy(squares).to(self.device).permute(0, 3, 1, 2).float() / 255
        return self._forward((pixels - self._mean) / self._std)

    def _forward(self, pixels: Float[Tensor, "batch channel row column"]) -> Float[Tensor, "batch token dim"]:
        inputs = self._as_patches(pixels) if self._tower.takes_patches else {"pixel_values": pixels}
        answer = self._model(**inputs, output_hidden_states=bool(self._layers))
        if self._layers:
            tokens = torch.cat([answer.hidden_states[layer] for layer in self._layers], dim=-1)
        else:
            tokens = answer.last_hidden_state
        return tokens[:, self._num_skipped :]

    def _as_patches(self, pixels: Float[Tensor, "batch channel row column"]) -> dict[str, Tensor]:
        """The picture as rows of patches, row by row, for models that take any number of them."""
        batch, channels, side, _ = pixels.shape
        patch = self._tower.patch_size
        assert patch is not None, "such a model says how large its patches are"
        count = side // patch  # in a row, and in a column
        cut = pixels[:, :, : count * patch, : count * patch]
        cut = cut.reshape(batch, channels, count, patch, count, patch).permute(0, 2, 4, 3, 5, 1)
        return {
            "pixel_values": cut.reshape(batch, count * count, -1),
            "pixel_attention_mask": torch.ones(batch, count * count, dtype=torch.int32, device=self.device),
            "spatial_shapes": torch.tensor([[count, count]] * batch, device=self.device),
        }

    def _skip_all_but_patches(self) -> None:
        """Leaves out what stands before the patches, whatever it is called: class and register tokens."""
        patch, size = self._tower.patch_size, self._preparation.size
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
        size = self._preparation.size
        try:
            tokens = self._forward(torch.zeros(1, 3, size, size, device=self.device))
        except IndexError as error:
            depth = getattr(self._model.config, "num_hidden_layers", "?")
            raise WeightsError(
                f"features.layer {self._layers[0]} does not exist: the encoder has {depth} layers",
                hint="0 is what goes into the first layer, -1 what comes out of the last",
            ) from error
        except (ValueError, TypeError, RuntimeError, AttributeError) as error:
            raise WeightsError(
                f"the encoder cannot read pictures of {size} x {size} pixels: {error}",
                hint="choose a CLIP, SigLIP or DINOv2 model, or a LLaVA that sees through one",
            ) from error
        if tokens.ndim != 3:
            raise WeightsError(
                f"the encoder gives tokens of shape {tuple(tokens.shape[1:])}, not (token, dim)",
                hint="choose a ViT with patch tokens",
            )
        return tokens.shape[1], tokens.shape[2]


class VisionSource:
    """An encoder that is named and found, and built when it is needed. Make one with `find_vision`."""

    def __init__(
        self,
        folder: Path,
        *,
        layer: int | None,
        fit: FitMode,
        device: torch.device,
        tokens: TokenChoice = "all",
    ) -> None:
        if not (folder / "config.json").exists():
            raise WeightsError(f"{folder} has no config.json", hint="name the folder of a Hugging Face model")
        self.folder = folder
        self.layer = layer
        self.tokens = tokens
        self.device = device
        self.preparation = _preparation(folder, fit)

    @cached_property
    def signature(self) -> str:
        """Changes with whatever changes the tokens: weights, configuration, layer, size, normalisation."""
        told = {} if self.tokens == "all" else {"tokens": self.tokens}
        return digest(
            {
                "version": _VERSION,
                "tower": identify_tower(self.folder),
                "layer": self.layer,
                "preparation": asdict(self.preparation),
                **told,
            }
        )

    @cached_property
    def encoder(self) -> VisionEncoder:
        """The encoder, built at the first call; WeightsError if its files do not fit together."""
        return VisionEncoder(
            load_tower(self.folder),
            self.preparation,
            layer=self.layer,
            tokens=self.tokens,
            signature=self.signature,
            device=self.device,
        )


def find_vision(
    name_or_path: str | Path,
    *,
    layer: int | None = None,
    fit: FitMode = "letterbox",
    tokens: TokenChoice = "all",
    device: str = "cpu",
) -> VisionSource:
    """As `load_vision`, but the encoder is built only when asked for."""
    place = open_device(device)
    folder = find_folder(str(name_or_path), embedded_as="llava", patterns=_FILES)
    return VisionSource(folder, layer=layer, fit=fit, device=place, tokens=tokens)


def load_vision(
    name_or_path: str | Path,
    *,
    layer: int | None = None,
    fit: FitMode = "letterbox",
    tokens: TokenChoice = "all",
    device: str = "cpu",
) -> VisionEncoder:
    """The encoder in a folder or of a Hub name: a ViT (CLIP, SigLIP, DINOv2, ...), or a LLaVA's.

    `layer` None: the layer that a LLaVA was trained to see, else the model's own last state, its final
    norm included; a number: that hidden state, counted from the embeddings (0) or from the end (-1).
    `tokens` "all": with class and register tokens, where the model has them; a LLaVA as it was trained.
    Raises WeightsError if files are missing or do not fit together, EngineError if the device is not there.
    """
    return find_vision(name_or_path, layer=layer, fit=fit, tokens=tokens, device=device).encoder


def _preparation(folder: Path, fit: FitMode) -> Preparation:
    processor = _processor(folder)
    try:
        mean, std = processor["image_mean"], processor["image_std"]
        if not processor.get("do_normalize", True):
            mean, std = [0.0] * len(mean), [1.0] * len(std)
        return Preparation(
            size=_size(processor), mean=tuple(map(float, mean)), std=tuple(map(float, std)), fit=fit
        )
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(
            f"the image processor of {folder} is not understood: {error!r}",
            hint="it must name image_mean, image_std and one square size",
        ) from error


def _processor(folder: Path) -> Mapping[str, Any]:
    """The settings of the image processor, wherever this version of transformers wrote them."""
    alone, joined = folder / "preprocessor_config.json", folder / "processor_config.json"
    if alone.exists():
        return read_json(alone)
    if joined.exists():
        settings = read_json(joined).get("image_processor")
        if isinstance(settings, dict):
            return settings
    raise WeightsError(
        f"{folder} has no image processor, so nobody knows what the encoder expects",
        hint=f"put the model's {alone.name} beside its weights",
    )


def _size(processor: Mapping[str, Any]) -> int:
    """The side of the square: of the crop if there is one, else of the whole, else of as many patches as
    the model may take."""
    if "max_num_patches" in processor:
        return math.isqrt(int(processor["max_num_patches"])) * int(processor["patch_size"])
    wanted = processor["crop_size"] if processor.get("do_center_crop") else processor["size"]
    sides = {int(side) for side in (wanted.values() if isinstance(wanted, dict) else [wanted])}
    if len(sides) != 1:
        raise ValueError(f"size {wanted} is not a square")
    return sides.pop()
