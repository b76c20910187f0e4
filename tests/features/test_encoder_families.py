"""Every family of encoders against its own model: tokens, layers, preprocessing."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from tests.factories.encoders import load_encoder

from mien.errors import WeightsError
from mien.features.vision_encoder import find_vision_encoder

ModelFolder = Callable[[str], Path]
SIDE, PATCH, PATCHES, DEPTH = 24, 6, 16, 3
CLASSES: dict[str, Any] = {
    "clip": transformers.CLIPVisionModel,
    "clip_vision": transformers.CLIPVisionModel,
    "siglip": transformers.SiglipVisionModel,
    "siglip2_native": transformers.Siglip2VisionModel,
    "dinov2": transformers.Dinov2Model,
    "dinov2_registers": transformers.Dinov2WithRegistersModel,
    "dinov3": transformers.DINOv3ViTModel,
}
# Class and register tokens in front of the patches.
OTHERS = {
    "clip": 1,
    "clip_vision": 1,
    "siglip": 0,
    "siglip2_native": 0,
    "dinov2": 1,
    "dinov2_registers": 4,
    "dinov3": 3,
}
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)


def noise(seed: int) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    return Image.fromarray(values)


def expected_states(folder: Path, kind: str, images: list[Image.Image]) -> tuple[torch.Tensor, ...]:
    """The hidden states of transformers' model, and its last state."""
    pixels = torch.stack([torch.tensor(np.asarray(image)).permute(2, 0, 1) / 255 for image in images])
    pixels = (pixels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    given: dict[str, Any] = {"pixel_values": pixels}
    if kind == "siglip2_native":
        # The other such module needs torchvision.
        from transformers.models.siglip2.image_processing_pil_siglip2 import convert_image_to_patches

        patches = [torch.from_numpy(convert_image_to_patches(image.numpy(), PATCH)) for image in pixels]
        given = {
            "pixel_values": torch.stack(patches),
            "pixel_attention_mask": torch.ones(len(images), PATCHES, dtype=torch.int32),
            "spatial_shapes": torch.tensor([[SIDE // PATCH, SIDE // PATCH]] * len(images)),
        }
    model = CLASSES[kind].from_pretrained(folder).train(mode=False)
    with torch.inference_mode():
        output = model(**given, output_hidden_states=True)
    return (*output.hidden_states, output.last_hidden_state)


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("layer", [None, -2, 1])
def test_gives_the_tokens_of_the_model(model_folder: ModelFolder, kind: str, layer: int | None) -> None:
    folder, images = model_folder(kind), [noise(1), noise(2)]
    *hidden, last = expected_states(folder, kind, images)
    assert len(hidden) == DEPTH + 1
    expected = last if layer is None else hidden[layer]
    encoder = load_encoder(folder, layer=layer)
    assert (encoder.num_tokens, encoder.dim) == (PATCHES + OTHERS[kind], 16)
    torch.testing.assert_close(encoder.encode(images), expected, atol=1e-6, rtol=0)
    patches = load_encoder(folder, layer=layer, tokens="patches")
    assert patches.num_tokens == PATCHES
    torch.testing.assert_close(patches.encode(images), expected[:, OTHERS[kind] :], atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", CLASSES)
def test_each_patch_token_belongs_to_its_patch(model_folder: ModelFolder, kind: str) -> None:
    """In the input of the first layer, a changed patch changes its own token and no other."""
    encoder = load_encoder(model_folder(kind), layer=0, tokens="patches")
    plain = Image.new("RGB", (SIDE, SIDE), "gray")
    before = encoder.encode([plain])[0]
    for row, column in ((0, 0), (1, 2), (3, 3)):
        marked = plain.copy()
        marked.paste(noise(3).crop((0, 0, PATCH, PATCH)), (column * PATCH, row * PATCH))
        moved = (encoder.encode([marked])[0] - before).abs().amax(dim=1) > 1e-4
        assert moved.nonzero().flatten().tolist() == [row * (SIDE // PATCH) + column]


def test_patches_of_a_llava_do_not_depend_on_what_it_was_trained_to_read(
    model_folder: ModelFolder, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(model_folder("llava"), tmp_path / "copy"))
    as_trained = load_encoder(folder, tokens="patches").encode([noise(1)])
    assert torch.equal(as_trained, load_encoder(folder).encode([noise(1)]))
    config = json.loads((folder / "config.json").read_text())
    config["vision_feature_select_strategy"] = "full"
    (folder / "config.json").write_text(json.dumps(config))
    assert load_encoder(folder).num_tokens == PATCHES + 1
    assert torch.equal(load_encoder(folder, tokens="patches").encode([noise(1)]), as_trained)


def test_patches_and_all_tokens_have_different_signatures(model_folder: ModelFolder) -> None:
    folder = model_folder("dinov2")
    assert find_vision_encoder(folder, tokens="patches").signature != find_vision_encoder(folder).signature
    assert find_vision_encoder(folder, tokens="all").signature == find_vision_encoder(folder).signature


def test_a_frozen_encoder_is_in_evaluation_mode(model_folder: ModelFolder, tmp_path: Path) -> None:
    config = transformers.CLIPVisionConfig.from_pretrained(model_folder("clip_vision"), attention_dropout=0.5)
    transformers.CLIPVisionModel(config).save_pretrained(tmp_path)
    shutil.copy(model_folder("clip_vision") / "preprocessor_config.json", tmp_path)
    encoder = load_encoder(tmp_path)
    tokens = encoder.encode([noise(1)])
    assert torch.equal(encoder.encode([noise(1)]), tokens)
    assert not tokens.requires_grad
    # In training mode, dropout changes the output every time.
    reference = transformers.CLIPVisionModel.from_pretrained(tmp_path).train()
    pixels = torch.randn(1, 3, SIDE, SIDE)
    assert not torch.equal(reference(pixels).last_hidden_state, reference(pixels).last_hidden_state)


def test_every_kind_of_image_processor_is_read(model_folder: ModelFolder, tmp_path: Path) -> None:
    """Size, mean and standard deviation as the families write them, and without normalization."""
    folder = Path(shutil.copytree(model_folder("siglip"), tmp_path / "copy"))
    file = folder / "preprocessor_config.json"
    plain = {"image_mean": list(MEAN), "image_std": list(STD)}
    expected = load_encoder(folder).signature
    for size in (
        {"size": {"height": SIDE, "width": SIDE}, "do_center_crop": None},  # SigLIP
        {"size": SIDE},  # the first CLIPs
        {"size": {"shortest_edge": 32}, "do_center_crop": True, "crop_size": SIDE},  # DINOv2
        {"patch_size": PATCH, "max_num_patches": PATCHES},  # SigLIP 2 in native resolution
    ):
        file.write_text(json.dumps({**plain, **size}))
        assert load_encoder(folder).signature == expected
    file.write_text(json.dumps({**plain, "size": SIDE, "do_normalize": False}))
    unnormalized = load_encoder(folder)
    file.write_text(json.dumps({"image_mean": [0.0] * 3, "image_std": [1.0] * 3, "size": SIDE}))
    assert torch.equal(load_encoder(folder).encode([noise(1)]), unnormalized.encode([noise(1)]))
    assert unnormalized.signature != expected


def test_patches_that_cannot_be_identified_are_an_error(model_folder: ModelFolder, tmp_path: Path) -> None:
    config = transformers.SwinConfig(
        image_size=SIDE, patch_size=PATCH, embed_dim=8, depths=[1, 1], num_heads=[1, 1], window_size=2
    )
    transformers.SwinModel(config).save_pretrained(tmp_path)
    shutil.copy(model_folder("clip") / "preprocessor_config.json", tmp_path)
    assert load_encoder(tmp_path).num_tokens < PATCHES
    with pytest.raises(WeightsError, match="cannot be identified") as caught:
        load_encoder(tmp_path, tokens="patches")
    assert "features.tokens" in caught.value.hint
