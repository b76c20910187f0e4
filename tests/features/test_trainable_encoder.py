"""Encoders that learn: they begin as they were, learn where they should, and save what they have learned."""

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


def made(
    folder: Path, how: EncoderTraining, where: LoraPart = "attention", layer: int | None = None
) -> TrainableEncoder:
    source = find_vision_encoder(folder, layer=layer)
    found = build_trainable_encoder(source, how, rank=2, alpha=4.0, where=where)
    assert found is not None
    return found


def pictures(count: int = 2, each: int = 1) -> Tensor:
    return torch.randint(256, (count, each, SIZE, SIZE, 3), dtype=torch.uint8)


def step(encoder: TrainableEncoder) -> None:
    """A large step down some slope, so that everything that learns changes."""
    for _ in range(2):  # the second half of an adapter has no slope before the first step
        encoder.zero_grad()
        encoder(pictures()).square().mean().backward()
        with torch.no_grad():
            for weight in encoder.parameters():
                if weight.grad is not None:
                    weight.sub_(weight.grad.sign() * 0.1)


def test_a_frozen_one_is_none_of_these(model_folder: Folder) -> None:
    assert (
        build_trainable_encoder(
            find_vision_encoder(model_folder("clip")), "frozen", rank=1, alpha=1, where="all"
        )
        is None
    )


@pytest.mark.parametrize("how", ["full", "lora"])
@pytest.mark.parametrize("kind", MAKERS)
def test_before_the_first_step_it_says_what_the_frozen_one_says(
    model_folder: Folder, kind: str, how: EncoderTraining
) -> None:
    source = find_vision_encoder(model_folder(kind))
    encoder, seen = made(model_folder(kind), how), pictures(3, 2)
    tokens = encoder(seen)
    assert tokens.shape == (3, 2 * source.shape[0], source.shape[1])
    torch.testing.assert_close(tokens, source.encoder.encode(seen.numpy()), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize(("how", "where"), [("full", "all"), ("lora", "attention"), ("lora", "all")])
def test_what_learns_is_what_is_saved_and_nothing_else_is_wanted_back(
    model_folder: Folder, kind: str, how: EncoderTraining, where: LoraPart
) -> None:
    encoder = made(model_folder(kind), how, where)
    begun = {name: weight.detach().clone() for name, weight in encoder.named_parameters()}
    step(encoder)
    changed = {name for name, weight in encoder.named_parameters() if not torch.equal(weight, begun[name])}
    holder = nn.ModuleDict({"encoder": encoder})  # it stands in a classifier, under a name
    saved = {name: weight.clone() for name, weight in holder.state_dict().items()}
    learning = {name for name, weight in encoder.named_parameters() if weight.requires_grad}
    # Every weight that learns has a slope, but the biases that attention takes away again.
    assert {name for name in learning - changed if not name.endswith("k_proj.bias")} == set()
    assert {name.removeprefix("encoder.") for name in saved} == learning
    if how == "lora":
        assert all(name.endswith((".down", ".up")) for name in saved)
    again = made(model_folder(kind), how, where)
    nn.ModuleDict({"encoder": again}).load_state_dict(saved)
    seen = pictures()
    assert torch.equal(encoder.eval()(seen), again.eval()(seen))
    saved.pop(f"encoder.{sorted(changed)[0]}")
    with pytest.raises(RuntimeError, match="Missing key"):
        nn.ModuleDict({"encoder": again}).load_state_dict(saved)


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("how", ["full", "lora"])
def test_what_stands_above_the_layer_that_is_read_does_not_learn(
    model_folder: Folder, kind: str, how: EncoderTraining
) -> None:
    encoder = made(model_folder(kind), how, "all", layer=-2)
    above = [
        name
        for name, _ in encoder.named_parameters()
        if any(part in name for part in ("layers.2.", "layer.2.", "post_layernorm", ".head.", "pooler"))
    ]
    assert above
    learning = {name for name, weight in encoder.named_parameters() if weight.requires_grad}
    assert learning
    assert learning.isdisjoint(above)
    assert not any(name in encoder.state_dict() for name in above)
    assert any(".1." in name for name in learning)  # of the layer that is read


def test_what_is_looked_for_leaves_no_trace(model_folder: Folder) -> None:
    state = torch.get_rng_state()
    encoder = made(model_folder("siglip"), "full")
    assert torch.equal(torch.get_rng_state(), state)
    assert all(weight.grad is None for weight in encoder.parameters())
    with torch.no_grad():  # as where it is loaded to judge
        again = made(model_folder("siglip"), "full")
    assert again.state_dict().keys() == encoder.state_dict().keys()


def test_an_encoder_of_which_nothing_is_left_to_learn_is_refused(model_folder: Folder) -> None:
    with pytest.raises(ConfigError, match=r"'lora' has nothing to learn: .* features\.layer 0 ") as caught:
        made(model_folder("clip"), "lora", layer=0)
    assert "features.layer" in caught.value.hint
    assert "frozen" in caught.value.hint
    pixels = set(made(model_folder("clip"), "full", layer=0).state_dict())
    assert "vit.tower.embeddings.patch_embedding.weight" in pixels
    assert not any(".layers." in name for name in pixels)


def test_attention_alone_or_every_linear_layer_carries_adapters(model_folder: Folder) -> None:
    counts = {
        where: sum(
            isinstance(module, LoraLinear)
            for module in made(model_folder("clip_vision"), "lora", where).modules()
        )
        for where in ("attention", "all")
    }
    assert counts == {"attention": 3 * 4, "all": 3 * 6}


def test_an_adapter_is_a_change_of_the_weight(model_folder: Folder) -> None:
    torch.manual_seed(0)
    adapter = LoraLinear(nn.Linear(6, 5), rank=2, alpha=3.0)
    nn.init.normal_(adapter.up)
    inputs = torch.randn(4, 6)
    merged = adapter.base.weight + 3.0 / 2 * adapter.up @ adapter.down
    torch.testing.assert_close(adapter(inputs), inputs @ merged.T + adapter.base.bias)
    with pytest.raises(ConfigError, match="no linear layer") as caught:
        add_lora(nn.Sequential(nn.Linear(3, 3)), rank=2, alpha=1.0, where="attention")
    assert "lora_layers" in caught.value.hint


def test_a_tower_that_keeps_its_weights_stays_in_evaluation_mode(model_folder: Folder) -> None:
    whole, adapted = made(model_folder("clip"), "full"), made(model_folder("clip"), "lora")
    for encoder in (whole, adapted):
        encoder.train()
    assert whole.vit.tower.training
    assert adapted.training
    assert not adapted.vit.tower.training
    assert not whole.requires_grad_(requires_grad=False).train().vit.tower.training


def test_the_same_with_and_without_gradients_for_any_number_of_pictures(model_folder: Folder) -> None:
    encoder, seen = made(model_folder("clip"), "full"), pictures(5, 9)  # more than go through at once
    with torch.no_grad():
        apart = encoder(seen)
    torch.testing.assert_close(encoder(seen), apart, atol=1e-5, rtol=1e-5)
