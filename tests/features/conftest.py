"""Tiny models with random weights, saved as Hugging Face models are, and pictures for them."""

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from PIL import Image

VOCABULARY = Path(__file__).parents[3] / "shared" / "data" / "tokenizers" / "bert-base-uncased" / "vocab.txt"

SIZE, PATCH = 24, 6  # pixels
TOWER: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": SIZE,
    "patch_size": PATCH,
}
WORDS: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}


@pytest.fixture(scope="session")
def vocabulary() -> Path:
    """BERT's real vocabulary."""
    if not VOCABULARY.exists():
        pytest.skip(f"no vocabulary at {VOCABULARY}")
    return VOCABULARY


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny models are slower on more; and no test of this room may change the random state for another."""
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)
    torch.set_rng_state(state)


def save_processor(folder: Path, crop: int = SIZE) -> None:
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
    text = transformers.CLIPTextConfig(**WORDS, vocab_size=50, bos_token_id=0, eos_token_id=1)
    return transformers.CLIPModel(
        transformers.CLIPConfig(vision_config=TOWER, text_config=text.to_dict(), projection_dim=8)
    )


def _siglip() -> Any:
    text = transformers.SiglipTextConfig(**WORDS, vocab_size=50, bos_token_id=0, eos_token_id=1)
    return transformers.SiglipModel(
        transformers.SiglipConfig(vision_config=TOWER, text_config=text.to_dict())
    )


def _dinov2() -> Any:
    sizes = {key: value for key, value in TOWER.items() if key != "intermediate_size"}
    return transformers.Dinov2Model(transformers.Dinov2Config(**sizes))


def _registers() -> Any:
    sizes = {key: value for key, value in TOWER.items() if key != "intermediate_size"}
    config = transformers.Dinov2WithRegistersConfig(**sizes, num_register_tokens=3)
    return transformers.Dinov2WithRegistersModel(config)


def _dinov3() -> Any:
    return transformers.DINOv3ViTModel(transformers.DINOv3ViTConfig(**TOWER, num_register_tokens=2))


def _native_siglip() -> Any:
    sizes = {key: value for key, value in TOWER.items() if key != "image_size"}
    text = transformers.Siglip2TextConfig(**WORDS, vocab_size=50, bos_token_id=0, eos_token_id=1)
    config = transformers.Siglip2Config(
        vision_config={**sizes, "num_patches": (SIZE // PATCH) ** 2}, text_config=text.to_dict()
    )
    return transformers.Siglip2Model(config)


def _llava() -> Any:
    return transformers.LlavaForConditionalGeneration(
        transformers.LlavaConfig(
            vision_config=transformers.CLIPVisionConfig(**TOWER),
            text_config=transformers.LlamaConfig(**WORDS, vocab_size=50, num_key_value_heads=2),
            image_token_index=49,
            vision_feature_layer=-2,
        )
    )


MAKERS: dict[str, Callable[[], Any]] = {
    "clip": _clip,
    "clip_vision": lambda: transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**TOWER)),
    "siglip": _siglip,
    "dinov2": _dinov2,
    "dinov2_registers": _registers,
    "dinov3": _dinov3,
    "siglip2_native": _native_siglip,
    "llava": _llava,
}


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """model_folder("clip") -> the folder of a tiny one; each is made once."""
    root = tmp_path_factory.mktemp("models")

    def make(kind: str) -> Path:
        folder = root / kind
        if not folder.exists():
            torch.manual_seed(0)
            MAKERS[kind]().save_pretrained(folder)
            save_processor(folder)
        return folder

    return make


@pytest.fixture
def pictures(tmp_path: Path) -> Callable[[int], list[Path]]:
    """pictures(3) -> paths of three unlike pictures, each wider than high."""

    def make(count: int) -> list[Path]:
        paths = [tmp_path / f"{index}.png" for index in range(count)]
        for index, path in enumerate(paths):
            noise = random.Random(index).randbytes(40 * 30 * 3)
            Image.frombytes("RGB", (40, 30), noise).save(path)
        return paths

    return make
