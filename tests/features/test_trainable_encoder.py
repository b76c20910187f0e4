"""Trained encoders: where they start, what is trained, what is saved."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.factories.encoders import MAKERS, SIZE
from torch import Tensor, nn

from mien.errors import ConfigError
from mien.features.lora import LoraLinear, add_lora
from mien.features.trainable_encoder import TrainableEncoder, build_trainable_encoder
from mien.features.vision_encoder import find_vision_encoder
from mien.recipe.train import EncoderTraining, LoraPart

Folder = Callable[[str], Path]


def build(
    folder: Path, training: EncoderTraining, where: LoraPart = "attention", layer: int | None = None
) -> TrainableEncoder:
    source = find_vision_encoder(folder, layer=layer)
    found = build_trainable_encoder(source, training, rank=2, alpha=4.0, where=where)
    assert found is not None
    return found


def random_pixels(count: int = 2, each: int = 1) -> Tensor:
    return torch.randint(256, (count, each, SIZE, SIZE, 3), dtype=torch.uint8)


def step(encoder: TrainableEncoder) -> None:
    """Two large gradient steps, so that every trained weight changes."""
    for _ in range(2):  # the first half of an adapter has no gradient before the first step
        encoder.zero_grad()
        encoder(random_pixels()).square().mean().backward()
        with torch.no_grad():
            for weight in encoder.parameters():
                if weight.grad is not None:
                    weight.sub_(weight.grad.sign() * 0.1)


def test_a_frozen_encoder_is_not_a_trainable_one(model_folder: Folder) -> None:
    assert (
        build_trainable_encoder(
            find_vision_encoder(model_folder("clip")), "frozen", rank=1, alpha=1, where="all"
        )
        is None
    )


@pytest.mark.parametrize("training", ["full", "lora"])
@pytest.mark.parametrize("kind", MAKERS)
def test_before_the_first_step_it_equals_the_frozen_encoder(
    model_folder: Folder, kind: str, training: EncoderTraining
) -> None:
    source = find_vision_encoder(model_folder(kind))
    encoder, pixels = build(model_folder(kind), training), random_pixels(3, 2)
    tokens = encoder(pixels)
    assert tokens.shape == (3, 2 * source.shape[0], source.shape[1])
    torch.testing.assert_close(tokens, source.encoder.encode(pixels.numpy()), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize(("training", "where"), [("full", "all"), ("lora", "attention"), ("lora", "all")])
def test_only_trained_weights_are_saved_and_required_when_loading(
    model_folder: Folder, kind: str, training: EncoderTraining, where: LoraPart
) -> None:
    encoder = build(model_folder(kind), training, where)
    before = {name: weight.detach().clone() for name, weight in encoder.named_parameters()}
    step(encoder)
    changed = {name for name, weight in encoder.named_parameters() if not torch.equal(weight, before[name])}
    holder = nn.ModuleDict({"encoder": encoder})  # as in a classifier
    saved = {name: weight.clone() for name, weight in holder.state_dict().items()}
    trained = {name for name, weight in encoder.named_parameters() if weight.requires_grad}
    # Every trained weight has a gradient, except the biases of keys, which have no effect.
    assert {name for name in trained - changed if not name.endswith("k_proj.bias")} == set()
    assert {name.removeprefix("encoder.") for name in saved} == trained
    if training == "lora":
        assert all(name.endswith((".down", ".up")) for name in saved)
    again = build(model_folder(kind), training, where)
    nn.ModuleDict({"encoder": again}).load_state_dict(saved)
    pixels = random_pixels()
    assert torch.equal(encoder.eval()(pixels), again.eval()(pixels))
    saved.pop(f"encoder.{sorted(changed)[0]}")
    with pytest.raises(RuntimeError, match="Missing key"):
        nn.ModuleDict({"encoder": again}).load_state_dict(saved)


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("training", ["full", "lora"])
def test_weights_above_the_layer_that_is_read_are_not_trained(
    model_folder: Folder, kind: str, training: EncoderTraining
) -> None:
    encoder = build(model_folder(kind), training, "all", layer=-2)
    above = [
        name
        for name, _ in encoder.named_parameters()
        if any(part in name for part in ("layers.2.", "layer.2.", "post_layernorm", ".head.", "pooler"))
    ]
    assert above
    trained = {name for name, weight in encoder.named_parameters() if weight.requires_grad}
    assert trained
    assert trained.isdisjoint(above)
    assert not any(name in encoder.state_dict() for name in above)
    assert any(".1." in name for name in trained)  # the layer that is read


def test_building_leaves_random_numbers_and_gradients_alone(model_folder: Folder) -> None:
    state = torch.get_rng_state()
    encoder = build(model_folder("siglip"), "full")
    assert torch.equal(torch.get_rng_state(), state)
    assert all(weight.grad is None for weight in encoder.parameters())
    with torch.no_grad():  # as when it is loaded for evaluation
        again = build(model_folder("siglip"), "full")
    assert again.state_dict().keys() == encoder.state_dict().keys()


def test_an_encoder_without_anything_to_train_is_refused(model_folder: Folder) -> None:
    with pytest.raises(ConfigError, match=r"'lora' has nothing to learn: .* features\.layer 0 ") as caught:
        build(model_folder("clip"), "lora", layer=0)
    assert "features.layer" in caught.value.hint
    assert "frozen" in caught.value.hint
    names = set(build(model_folder("clip"), "full", layer=0).state_dict())
    assert "vit.tower.embeddings.patch_embedding.weight" in names
    assert not any(".layers." in name for name in names)


def test_adapters_are_in_attention_or_in_every_linear_layer(model_folder: Folder) -> None:
    counts = {
        where: sum(
            isinstance(module, LoraLinear)
            for module in build(model_folder("clip_vision"), "lora", where).modules()
        )
        for where in ("attention", "all")
    }
    assert counts == {"attention": 3 * 4, "all": 3 * 6}


def test_an_adapter_equals_a_changed_weight(model_folder: Folder) -> None:
    torch.manual_seed(0)
    adapter = LoraLinear(nn.Linear(6, 5), rank=2, alpha=3.0)
    nn.init.normal_(adapter.up)
    inputs = torch.randn(4, 6)
    merged = adapter.base.weight + 3.0 / 2 * adapter.up @ adapter.down
    torch.testing.assert_close(adapter(inputs), inputs @ merged.T + adapter.base.bias)
    with pytest.raises(ConfigError, match="no linear layer") as caught:
        add_lora(nn.Sequential(nn.Linear(3, 3)), rank=2, alpha=1.0, where="attention")
    assert "lora_layers" in caught.value.hint


def test_a_frozen_tower_stays_in_evaluation_mode(model_folder: Folder) -> None:
    whole, adapted = build(model_folder("clip"), "full"), build(model_folder("clip"), "lora")
    for encoder in (whole, adapted):
        encoder.train()
    assert whole.vit.tower.training
    assert adapted.training
    assert not adapted.vit.tower.training
    assert not whole.requires_grad_(requires_grad=False).train().vit.tower.training


def test_gradients_and_chunks_do_not_change_the_tokens(model_folder: Folder) -> None:
    encoder, pixels = build(model_folder("clip"), "full"), random_pixels(5, 9)  # more than one chunk
    with torch.no_grad():
        chunked = encoder(pixels)
    torch.testing.assert_close(encoder(pixels), chunked, atol=1e-5, rtol=1e-5)
