"""Vision encoders from model folders as transformers saves them."""

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
from safetensors.torch import load_file, save_file
from tests.factories.encoders import load_encoder

from mien.errors import EngineError, MienError, WeightsError
from mien.features.vision_encoder import find_vision_encoder

ModelFolder = Callable[[str], Path]
KINDS = ("clip", "clip_vision", "siglip", "dinov2", "llava")
SIDE = 24


def noise(seed: int, width: int = SIDE, height: int = SIDE) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


def normalize(image: Image.Image) -> torch.Tensor:
    pixels = torch.tensor(np.asarray(image)).permute(2, 0, 1)[None] / 255
    mean, std = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.2, 0.3, 0.4])
    return (pixels - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)


@pytest.fixture
def copy_of(model_folder: ModelFolder, tmp_path: Path) -> ModelFolder:
    """A copy of a model folder that a test may damage."""
    return lambda kind: Path(shutil.copytree(model_folder(kind), tmp_path / "copy"))


@pytest.mark.parametrize(
    ("kind", "tokens"), [("clip", 17), ("clip_vision", 17), ("siglip", 16), ("dinov2", 17)]
)
def test_gives_the_last_state_of_the_model(model_folder: ModelFolder, kind: str, tokens: int) -> None:
    classes: dict[str, Any] = {
        "clip": transformers.CLIPVisionModel,
        "clip_vision": transformers.CLIPVisionModel,
        "siglip": transformers.SiglipVisionModel,
        "dinov2": transformers.Dinov2Model,
    }
    reference = classes[kind].from_pretrained(model_folder(kind))
    encoder = load_encoder(model_folder(kind))
    images = [noise(1), noise(2)]
    expected = reference(torch.cat([normalize(image) for image in images])).last_hidden_state
    got = encoder.encode(images)
    assert got.shape == (2, encoder.num_tokens, encoder.dim) == (2, tokens, 16)
    torch.testing.assert_close(got, expected.detach(), atol=1e-6, rtol=0)


def test_gives_the_tokens_that_a_llavas_language_model_reads(model_folder: ModelFolder) -> None:
    llava = transformers.LlavaForConditionalGeneration.from_pretrained(model_folder("llava"))
    encoder = load_encoder(model_folder("llava"))
    image = noise(1)
    states = llava.model.vision_tower(normalize(image), output_hidden_states=True).hidden_states
    assert (encoder.num_tokens, encoder.dim) == (16, 16)
    torch.testing.assert_close(encoder.encode([image]), states[-2][:, 1:].detach(), atol=1e-6, rtol=0)
    last = load_encoder(model_folder("llava"), layer=-1).encode([image])
    torch.testing.assert_close(last, states[-1][:, 1:].detach(), atol=1e-6, rtol=0)


def test_a_llava_may_read_several_layers_and_the_class_token(copy_of: ModelFolder) -> None:
    folder = copy_of("llava")
    config = json.loads((folder / "config.json").read_text())
    config |= {"vision_feature_layer": [-1, -2], "vision_feature_select_strategy": "full"}
    (folder / "config.json").write_text(json.dumps(config))
    encoder = load_encoder(folder)
    assert (encoder.num_tokens, encoder.dim) == (17, 32)
    second = load_encoder(folder, layer=-2).encode([noise(1)])
    torch.testing.assert_close(encoder.encode([noise(1)])[:, :, 16:], second)


@pytest.mark.parametrize("kind", KINDS)
def test_the_tokens_of_an_image_do_not_depend_on_the_batch(model_folder: ModelFolder, kind: str) -> None:
    encoder = load_encoder(model_folder(kind))
    images = [noise(1), noise(2, width=50, height=20), noise(3, width=9, height=33)]
    one_by_one = torch.cat([encoder.encode([image]) for image in images])
    torch.testing.assert_close(encoder.encode(images), one_by_one, atol=1e-6, rtol=0)


def test_a_fitted_image_is_not_changed_by_fitting_again(model_folder: ModelFolder) -> None:
    encoder = load_encoder(model_folder("clip"))
    wide = noise(1, width=60, height=20)
    fitted = encoder.spec.square(wide)
    assert fitted.size == (SIDE, SIDE)
    assert torch.equal(encoder.encode([wide]), encoder.encode([fitted]))


def test_the_encoder_is_frozen(model_folder: ModelFolder) -> None:
    encoder = load_encoder(model_folder("dinov2"))
    assert not encoder.encode([noise(1)]).requires_grad
    assert torch.equal(encoder.encode([noise(1)]), encoder.encode([noise(1)]))


def test_loading_does_not_change_random_numbers(model_folder: ModelFolder) -> None:
    before = torch.get_rng_state()
    load_encoder(model_folder("clip"))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_signature_depends_on_everything_that_changes_the_tokens(
    model_folder: ModelFolder, copy_of: ModelFolder
) -> None:
    folder = copy_of("clip")
    signature = load_encoder(folder).signature
    assert signature == load_encoder(model_folder("clip")).signature  # in another folder
    assert load_encoder(folder, layer=-2).signature != signature
    assert load_encoder(folder, fit="squash").signature != signature
    weights = load_file(folder / "model.safetensors")
    weights["vision_model.post_layernorm.bias"][0] += 1
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    changed = load_encoder(folder).signature
    assert changed != signature
    processor = json.loads((folder / "preprocessor_config.json").read_text())
    processor["image_mean"][0] = 0.1
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    assert load_encoder(folder).signature not in {signature, changed}


def test_a_tower_on_its_own_and_in_a_larger_model_is_the_same_encoder(
    model_folder: ModelFolder, tmp_path: Path
) -> None:
    transformers.CLIPVisionModel.from_pretrained(model_folder("clip")).save_pretrained(tmp_path)
    shutil.copy(model_folder("clip") / "preprocessor_config.json", tmp_path)
    assert load_encoder(tmp_path).signature == load_encoder(model_folder("clip")).signature


def test_settings_are_found_in_the_config_of_a_joint_processor(copy_of: ModelFolder) -> None:
    folder = copy_of("llava")
    signature = load_encoder(folder).signature
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").unlink()
    (folder / "processor_config.json").write_text(json.dumps({"image_processor": settings}))
    assert load_encoder(folder).signature == signature


def without_processor(folder: Path) -> None:
    (folder / "preprocessor_config.json").unlink()


def not_square(folder: Path) -> None:
    file = folder / "preprocessor_config.json"
    file.write_text(file.read_text().replace('"height": 24', '"height": 20'))


def other_size(folder: Path) -> None:
    file = folder / "preprocessor_config.json"
    file.write_text(file.read_text().replace("24", "30"))


def without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def truncated(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def without_one_weight(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["vision_model.encoder.layers.1.mlp.fc1.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def without_tower(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    text = {name: weight for name, weight in weights.items() if name.startswith("text_model")}
    save_file(text, folder / "model.safetensors", metadata={"format": "pt"})


def of_another_width(folder: Path) -> None:
    file = folder / "config.json"
    config = json.loads(file.read_text())
    config["vision_config"]["hidden_size"] = 32
    file.write_text(json.dumps(config))


def of_unknown_kind(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "no_such_model"}')


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (without_processor, "no image processor"),
        (not_square, "not a square"),
        (other_size, "cannot read images of 30 x 30"),
        (without_weights, "no safetensors"),
        (truncated, "cannot be read"),
        (without_one_weight, r"lacks 1 of .*layers\.1\.mlp\.fc1\.weight"),
        (without_tower, "no weights of a vision tower|lacks"),
        (of_another_width, "do not fit its config"),
        (of_unknown_kind, "not understood"),
    ],
)
def test_a_damaged_folder_is_an_error(
    copy_of: ModelFolder, damage: Callable[[Path], None], message: str
) -> None:
    folder = copy_of("clip")
    damage(folder)
    with pytest.raises(WeightsError, match=message) as caught:
        load_encoder(folder)
    assert caught.value.hint


def test_the_signature_is_known_before_the_encoder_is_built(model_folder: ModelFolder) -> None:
    source = find_vision_encoder(model_folder("llava"))
    signature = source.signature
    assert "encoder" not in vars(source)  # a cached property is stored there
    assert signature == load_encoder(model_folder("llava")).signature


def test_models_that_do_not_exist_are_errors(
    tmp_path: Path, model_folder: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match=r"no config\.json"):
        load_encoder(tmp_path)
    with pytest.raises(WeightsError, match="no model at"):
        load_encoder("../no/such/folder")
    with pytest.raises(WeightsError, match="cache lacks files") as caught:
        load_encoder("no-such/model")
    assert "hf download no-such/model" in caught.value.hint
    with pytest.raises(WeightsError, match=r"layer 7 does not exist: .*3 layers"):
        load_encoder(model_folder("clip"), layer=7)


@pytest.mark.parametrize("device", ["cuda:99", "no_such_device"])
def test_a_device_that_is_not_available_is_an_error(model_folder: ModelFolder, device: str) -> None:
    with pytest.raises(EngineError, match=device) as caught:
        load_encoder(model_folder("clip"), device=device)
    assert isinstance(caught.value, MienError)
    assert "run.device" in caught.value.hint
