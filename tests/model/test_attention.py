"""Attention weights make the states that the layers make; a rollout accounts for all of a query's state."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.factories.qformers import IMAGE_DIM, inputs, qformer

from mien.model.attention import roll_out_attention
from mien.model.fusion import build_fusion
from mien.model.pooling import Pool
from mien.recipe import ModelOptions


def _pool(mode: str = "mean") -> Pool:
    return Pool(mode, num_queries=6, width=32)  # type: ignore[arg-type]


@pytest.mark.parametrize("num_updated", [4, 9])
def test_self_attention_is_the_weights_times_the_values(num_updated: int) -> None:
    module: Any = qformer(heads=1).layers[0].self_attention
    states = torch.randn(2, 9, 32, generator=torch.Generator().manual_seed(2))
    mask = (torch.arange(9) < torch.tensor([[9], [5]]))[:, None, None, :]
    weights = module.attention_weights(states, mask, num_updated)
    values = module.query_key_value(states).chunk(3, dim=-1)[2]
    expected = module.output(weights @ values, states[:, :num_updated])
    torch.testing.assert_close(module(states, mask, num_updated), expected)
    assert weights.shape == (2, num_updated, 9)
    assert not weights[1, :, 5:].any()


@pytest.mark.parametrize("num_queries", [6, 40])  # fewer and more than a head has dimensions
def test_cross_attention_is_the_weights_times_the_values(num_queries: int) -> None:
    module: Any = qformer(heads=1).layers[0].cross_attention
    states = torch.randn(2, num_queries, 32, generator=torch.Generator().manual_seed(2))
    image, *_ = inputs()
    weights = module.attention_weights(states, image)
    values = module.key_value(image).chunk(2, dim=-1)[1]
    torch.testing.assert_close(module(states, image), module.output(weights @ values, states))
    assert weights.shape == (2, num_queries, 5)


def test_a_rollout_over_one_layer_is_the_product_of_its_attentions() -> None:
    model, (image, ids, mask) = qformer(layers=1, keep_text=False), inputs()
    layer: Any = model.layers[0]
    states = model._embed(2, ids)
    joint = torch.cat((torch.ones(2, 6, dtype=torch.bool), mask), dim=1)[:, None, None, :]
    read = layer.self_attention.attention_weights(states, joint, 6)
    seen = layer.cross_attention.attention_weights(layer.self_attention(states, joint, 6), image)
    rollout = roll_out_attention(model, _pool(), image, ids, mask)
    torch.testing.assert_close(rollout.patches, 0.5 * seen)
    torch.testing.assert_close(rollout.tokens, 0.25 * (read + torch.eye(6, 13)))
    torch.testing.assert_close(rollout.weights, torch.full((2, 6), 1 / 6))


@pytest.mark.parametrize("text_cross_attention", [False, True])
@pytest.mark.parametrize("keep_text", [False, True])
def test_all_shares_of_a_query_sum_to_one(text_cross_attention: bool, keep_text: bool) -> None:
    model = qformer(text_cross_attention=text_cross_attention, keep_text=keep_text)
    image, ids, mask = inputs()
    rollout = roll_out_attention(model, _pool("attention"), image, ids, mask)
    total = rollout.patches.sum(dim=2) + rollout.tokens.sum(dim=2)
    torch.testing.assert_close(total, torch.ones(2, 6))
    assert (rollout.patches >= 0).all()
    assert not rollout.tokens[1, :, 6 + 4 :].any()  # masked
    assert rollout.patches.shape == (2, 6, 5)
    # No hook is left behind.
    assert all(not module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize(
    ("fusion", "has_rollout"),
    [
        ("qformer", True),
        ("cross_attention", True),
        ("image_only", True),
        ("text_only", False),
        ("concat", False),
    ],
)
def test_fusions_with_queries_that_see_the_image_have_a_rollout(fusion: str, has_rollout: bool) -> None:
    options = ModelOptions(fusion=fusion, width=16, layers=2, heads=2, num_queries=3)
    built = build_fusion(options, image_dim=IMAGE_DIM, vocab_size=50).eval()
    image, ids, mask = inputs()
    rollout = built.roll_out_attention(image, ids, mask)
    assert (rollout is not None) is has_rollout
    if rollout is not None:
        assert rollout.patches.shape == (2, 3, 5)
        torch.testing.assert_close(rollout.weights.sum(dim=1), torch.ones(2))
