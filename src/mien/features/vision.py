"""A frozen vision encoder: pictures become patch tokens.

Goes in: pictures of any size (already marked), a name or path of a CLIP-style ViT or of a LLaVA.
Comes out: float tokens, and a signature that changes with whatever changes them.
Knows nothing about: files of pictures, boxes, caches, what the tokens are used for.

The signature is known before the encoder is built: where all features are cached, it need not be.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from mien.digests import digest
from mien.errors import WeightsError
from mien.features.device import open_device
from mien.features.model_folders import find_folder, read_json
from mien.features.vision_tower import identify_tower, load_tower
from mien.features.vit import Preparation, Vit
from mien.media.images import fit_to_square
from mien.recipe.features import FitMode, TokenChoice

__all__ = ["Preparation", "VisionEncoder", "VisionSource", "find_vision", "load_vision"]

_FILES: Final = ("*.json", "*.safetensors")
_VERSION: Final = 1  # raise it when the same files and options give other tokens


class VisionEncoder:
    """Pictures to tokens, without gradients. Make one with `load_vision`."""

    def __init__(self, vit: Vit, preparation: Preparation, *, signature: str, device: torch.device) -> None:
        self._vit = vit.requires_grad_(requires_grad=False).eval().to(device)
        self._preparation = preparation
        self.device = device
        self.signature = signature
        self.num_tokens, self.dim = vit.num_tokens, vit.dim

    def fit(self, image: Image.Image) -> Image.Image:
        """The square that the encoder sees of a picture; `encode` does this to whatever is no such square."""
        return fit_to_square(image, self._preparation.size, self._preparation.fit)

    @torch.inference_mode()
    def encode(self, images: Sequence[Image.Image]) -> Float[Tensor, "batch token dim"]:
        """The tokens of each picture; the same for a picture whatever stands beside it."""
        size = (self._preparation.size, self._preparation.size)
        fitted = (image if image.size == size else self.fit(image) for image in images)
        squares = np.stack([np.asarray(image) for image in fitted])
        tokens: Tensor = self._vit(torch.from_numpy(squares).to(self.device))
        return tokens

    @torch.inference_mode()
    def encode_subjects(
        self, squares: UInt8[np.ndarray, "batch picture row column channel"]
    ) -> Float[Tensor, "batch token dim"]:
        """The tokens of all pictures of each subject, which are squares as `fit` makes them."""
        return self._vit.of_subjects(torch.from_numpy(squares).to(self.device))


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
        return VisionEncoder(self.build(), self.preparation, signature=self.signature, device=self.device)

    @cached_property
    def shape(self) -> tuple[int, int]:
        """(token, dim) of what the encoder makes of a picture."""
        vit = self.build()
        return vit.num_tokens, vit.dim

    def build(self) -> Vit:
        """The encoder's computing half, anew, on the CPU; WeightsError if its files do not fit together."""
        return Vit(load_tower(self.folder), self.preparation, layer=self.layer, tokens=self.tokens)

    def fit(self, image: Image.Image) -> Image.Image:
        """The square that the encoder sees of a picture."""
        return fit_to_square(image, self.preparation.size, self.preparation.fit)


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
