"""transformers' Q-Former, and ours with the same weights, copied name by name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.factories.training import make, recipe
from transformers import InstructBlipQFormerConfig, InstructBlipQFormerModel

from mien.model.qformer import QFormer, QFormerConfig

__all__ = ["make", "make_pair", "recipe", "saved"]

Pair = tuple[InstructBlipQFormerModel, QFormer]


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Path]:
    """saved(model, shards=False) -> its folder."""

    def save(model: Any, *, shards: bool = False) -> Path:
        folder = tmp_path / type(model).__name__
        model.save_pretrained(folder, max_shard_size="8KB" if shards else "5GB")
        assert (folder / "model.safetensors.index.json").exists() == shards
        return folder

    return save


@pytest.fixture
def make_pair() -> Callable[..., Pair]:
    """make_pair(num_queries=..., keep_text=..., with_text=..., width=...) -> (theirs, ours)."""
    torch.manual_seed(0)
    return _pair


def _pair(
    *,
    num_queries: int,
    keep_text: bool = True,
    with_image: bool = True,
    with_text: bool = True,
    width: int = 32,
    **changes: int,
) -> Pair:
    """Their model and ours with the same random weights, both in evaluation mode."""
    sizes = {
        "layers": 3,
        "heads": 4,
        "feedforward": 48,
        "cross_every": 2,
        "image_dim": 20,
        "vocab": 50,
        **changes,
    }
    theirs = InstructBlipQFormerModel(
        InstructBlipQFormerConfig(
            vocab_size=sizes["vocab"],
            hidden_size=width,
            num_hidden_layers=sizes["layers"],
            num_attention_heads=sizes["heads"],
            intermediate_size=sizes["feedforward"],
            cross_attention_frequency=sizes["cross_every"],
            encoder_hidden_size=sizes["image_dim"],
            max_position_embeddings=40,
        )
    )
    theirs.train(mode=False)
    ours = QFormer(
        QFormerConfig(
            image_dim=sizes["image_dim"] if with_image else None,
            vocab_size=sizes["vocab"] if with_text else None,
            num_queries=num_queries,
            width=width,
            layers=sizes["layers"],
            heads=sizes["heads"],
            feedforward=sizes["feedforward"],
            cross_every=sizes["cross_every"],
            max_positions=40,
            keep_text=keep_text,
        )
    ).eval()
    _randomize(theirs)
    copied = _our_names(theirs.state_dict())
    copied["query_tokens"] = torch.randn(num_queries, width)
    ours.load_state_dict({name: copied[name] for name in ours.state_dict()})
    return theirs, ours


def _randomize(model: torch.nn.Module) -> None:
    """Draws weights large enough that every part of the model has an effect."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name.lower() and name.endswith("weight"):
                parameter.copy_(1 + 0.2 * torch.randn_like(parameter))
            else:
                parameter.copy_(0.2 * torch.randn_like(parameter))


def _our_names(theirs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    ours = {
        "word_embeddings.weight": theirs["embeddings.word_embeddings.weight"],
        "position_embeddings.weight": theirs["embeddings.position_embeddings.weight"],
        "norm.weight": theirs["embeddings.layernorm.weight"],
        "norm.bias": theirs["embeddings.layernorm.bias"],
    }
    for name in [name for name in theirs if name.startswith("encoder.layer.")]:
        _, _, index, *rest = name.split(".")
        for our_name, parts in _layer_names(".".join(rest)).items():
            ours[f"layers.{index}.{our_name}"] = torch.cat(
                [theirs[f"encoder.layer.{index}.{part}"] for part in parts]
            )
    return ours


def _layer_names(theirs: str) -> dict[str, list[str]]:
    """Our name for one of their parameters, with all of theirs that are stacked in it."""
    *path, kind = theirs.split(".")
    plain = {
        "attention.output.dense": "self_attention.output.dense",
        "attention.output.LayerNorm": "self_attention.output.norm",
        "crossattention.attention.query": "cross_attention.query",
        "crossattention.output.dense": "cross_attention.output.dense",
        "crossattention.output.LayerNorm": "cross_attention.output.norm",
        "intermediate.dense": "text_feedforward.inner",
        "output.dense": "text_feedforward.output.dense",
        "output.LayerNorm": "text_feedforward.output.norm",
        "intermediate_query.dense": "query_feedforward.inner",
        "output_query.dense": "query_feedforward.output.dense",
        "output_query.LayerNorm": "query_feedforward.output.norm",
    }
    stacked = {
        "attention.attention.query": ("self_attention.query_key_value", ("query", "key", "value")),
        "crossattention.attention.key": ("cross_attention.key_value", ("key", "value")),
    }
    joined = ".".join(path)
    if joined in plain:
        return {f"{plain[joined]}.{kind}": [theirs]}
    if joined in stacked:
        our_name, parts = stacked[joined]
        return {f"{our_name}.{kind}": [".".join((*path[:-1], part, kind)) for part in parts]}
    return {}
