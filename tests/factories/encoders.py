"""Tiny vision encoders with random weights, saved as Hugging Face models are."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import transformers
from PIL import Image

from mien.features.vision_encoder import VisionEncoderSpec, find_vision_encoder

SIZE, PATCH = 24, 6  # pixels
_TOWER: Final[dict[str, Any]] = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": SIZE,
    "patch_size": PATCH,
}
_TEXT: Final[dict[str, Any]] = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}


class ImageEncoder:
    """A frozen encoder that takes images of any size, each as one subject."""

    def __init__(self, spec: VisionEncoderSpec) -> None:
        self.spec = spec
        self.num_tokens, self.dim = spec.encoder.num_tokens, spec.encoder.dim

    @property
    def signature(self) -> str:
        return self.spec.signature

    def encode(self, images: Sequence[Image.Image]) -> torch.Tensor:
        """Tokens, shape (image, token, dim)."""
        pixels = np.stack([np.asarray(self.spec.square(image)) for image in images])
        return self.spec.encoder.encode(pixels[:, None])


def load_encoder(name_or_path: str | Path, **options: Any) -> ImageEncoder:
    """Finds and builds an encoder; the options are those of `find_vision_encoder`."""
    return ImageEncoder(find_vision_encoder(name_or_path, **options))


def save_processor(folder: Path, crop: int = SIZE) -> None:
    """Writes the settings of a CLIP image processor into a model folder."""
    settings = {
        "image_processor_type": "CLIPImageProcessor",
        "do_center_crop": True,
        "crop_size": {"height": crop, "width": crop},
        "size": {"shortest_edge": crop},
        "image_mean": [0.5, 0.4, 0.3],
        "image_std": [0.2, 0.3, 0.4],
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))


def _clip() -> Any:
    text = transformers.CLIPTextConfig(**_TEXT, vocab_size=50, bos_token_id=0, eos_token_id=1)
    return transformers.CLIPModel(
        transformers.CLIPConfig(vision_config=_TOWER, text_config=text.to_dict(), projection_dim=8)
    )


def _siglip() -> Any:
    text = transformers.SiglipTextConfig(**_TEXT, vocab_size=50, bos_token_id=0, eos_token_id=1)
    return transformers.SiglipModel(
        transformers.SiglipConfig(vision_config=_TOWER, text_config=text.to_dict())
    )


def _dinov2() -> Any:
    sizes = {key: value for key, value in _TOWER.items() if key != "intermediate_size"}
    return transformers.Dinov2Model(transformers.Dinov2Config(**sizes))


def _dinov2_with_registers() -> Any:
    sizes = {key: value for key, value in _TOWER.items() if key != "intermediate_size"}
    config = transformers.Dinov2WithRegistersConfig(**sizes, num_register_tokens=3)
    return transformers.Dinov2WithRegistersModel(config)


def _dinov3() -> Any:
    return transformers.DINOv3ViTModel(transformers.DINOv3ViTConfig(**_TOWER, num_register_tokens=2))


def _native_siglip() -> Any:
    sizes = {key: value for key, value in _TOWER.items() if key != "image_size"}
    text = transformers.Siglip2TextConfig(**_TEXT, vocab_size=50, bos_token_id=0, eos_token_id=1)
    config = transformers.Siglip2Config(
        vision_config={**sizes, "num_patches": (SIZE // PATCH) ** 2}, text_config=text.to_dict()
    )
    return transformers.Siglip2Model(config)


def _llava() -> Any:
    return transformers.LlavaForConditionalGeneration(
        transformers.LlavaConfig(
            vision_config=transformers.CLIPVisionConfig(**_TOWER),
            text_config=transformers.LlamaConfig(**_TEXT, vocab_size=50, num_key_value_heads=2),
            image_token_index=49,
            vision_feature_layer=-2,
        )
    )


MAKERS: Final[dict[str, Callable[[], Any]]] = {
    "clip": _clip,
    "clip_vision": lambda: transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**_TOWER)),
    "siglip": _siglip,
    "dinov2": _dinov2,
    "dinov2_registers": _dinov2_with_registers,
    "dinov3": _dinov3,
    "siglip2_native": _native_siglip,
    "llava": _llava,
}


def save_model(kind: str, folder: Path) -> Path:
    """Saves a model of this kind with its image processor; the weights are always the same."""
    torch.manual_seed(0)
    MAKERS[kind]().save_pretrained(folder)
    save_processor(folder)
    return folder
