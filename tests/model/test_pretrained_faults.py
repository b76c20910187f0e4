"""Checkpoints that cannot initialize a Q-Former: each is a clear error."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.factories.qformers import bert, qformer

from mien.errors import ConfigError, WeightsError
from mien.model.fusion import Fusion
from mien.model.pretrained import load_initial_weights, load_qformer
from mien.recipe import ModelOptions


class NoQFormer(Fusion):
    uses_image = False
    uses_text = False

    def forward(self, image: Any, text_ids: Any, text_mask: Any) -> Any:
        return image


def test_a_fusion_without_a_qformer_cannot_start_from_one() -> None:
    with pytest.raises(ConfigError, match="this fusion has none"):
        load_initial_weights(NoQFormer(ModelOptions(), image_dim=None, vocab_size=None), "somewhere")


def of_other_kind(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "roberta"}')


def with_other_heads(folder: Path) -> None:
    file = folder / "config.json"
    file.write_text(file.read_text().replace('"num_attention_heads": 4', '"num_attention_heads": 8'))


def without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def cut_short(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def without_qformer(folder: Path) -> None:
    save_file({"something": torch.zeros(3)}, folder / "model.safetensors")


def with_lost_shard(folder: Path) -> None:
    names = load_file(folder / "model.safetensors")
    index = {"weight_map": dict.fromkeys(names, "model-1.safetensors")}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def with_empty_index(folder: Path) -> None:
    (folder / "model.safetensors.index.json").write_text("{}")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (of_other_kind, "'roberta'"),
        (with_other_heads, "8 attention heads, and the model 4"),
        (without_weights, "no safetensors"),
        (cut_short, "cannot be read"),
        (without_qformer, "neither a Q-Former nor a BERT"),
        (with_lost_shard, r"model-1\.safetensors cannot be read"),
        (with_empty_index, "no weight_map"),
    ],
)
def test_a_damaged_folder_is_an_error(
    saved: Callable[..., Path], damage: Callable[[Path], None], message: str
) -> None:
    folder = saved(bert())
    damage(folder)
    with pytest.raises(WeightsError, match=message) as caught:
        load_qformer(qformer(), folder)
    assert caught.value.hint


def test_a_checkpoint_of_another_width_is_refused(saved: Callable[..., Path]) -> None:
    with pytest.raises(WeightsError, match=r"no weight of .* fits the model; .* there, .* here"):
        load_qformer(qformer(width=64, feedforward=96), saved(bert()))


def test_a_model_that_is_not_available_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match="cache lacks files"):
        load_qformer(qformer(), "no-such/model")
