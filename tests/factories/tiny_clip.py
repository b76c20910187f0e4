"""A tiny CLIP with random weights, saved like any transformers model."""

import json
from pathlib import Path
from typing import Any


def build_tiny_clip(folder: Path, *, seed: int = 0, image_size: int = 24, patch_size: int = 6) -> Path:
    """Saves the model and its preprocessor configuration; returns the folder."""
    import torch
    from transformers import CLIPVisionConfig, CLIPVisionModel

    sizes: dict[str, Any] = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": image_size,
        "patch_size": patch_size,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        CLIPVisionModel(CLIPVisionConfig(**sizes)).save_pretrained(folder)
    settings: dict[str, Any] = {
        "size": {"shortest_edge": image_size},
        "crop_size": {"height": image_size, "width": image_size},
        "image_mean": [0.5] * 3,
        "image_std": [0.25] * 3,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return folder
