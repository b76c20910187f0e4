"""Tiny object-detection models with random weights and their true processors, saved like any other model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

COCO: Final = ("person", "car")
KINDS: Final = ("d_fine", "rt_detr_v2", "yolos")


def build_tiny_detector(
    kind: str, folder: Path, *, seed: int = 2, classes: tuple[str, ...] = COCO, side: int = 64
) -> Path:
    """Saves a detector and its processor; returns the folder.

    Args:
        kind: One of `KINDS`.
        folder: Where to.
        seed: Of the weights; with the default one, each kind finds people in noise.
        classes: The names of the classes.
        side: In pixels, of the square that D-FINE and RT-DETRv2 read; of the shorter side for YOLOS.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model, processor = _build(kind, dict(enumerate(classes)), side)
        _spread(model)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _build(kind: str, id2label: Mapping[int, str], side: int) -> tuple[Any, Any]:
    import transformers as library
    from transformers.models.rt_detr.image_processing_pil_rt_detr import RTDetrImageProcessorPil
    from transformers.models.yolos.image_processing_pil_yolos import YolosImageProcessorPil

    labels: dict[str, Any] = {
        "id2label": dict(id2label),
        "label2id": {name: number for number, name in id2label.items()},
    }
    if kind == "yolos":
        config = library.YolosConfig(
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            image_size=[side, side],
            num_detection_tokens=12,
            use_mid_position_embeddings=False,
            **labels,
        )
        size = {"shortest_edge": side, "longest_edge": 2 * side}
        return library.YolosForObjectDetection(config), YolosImageProcessorPil(size=size)
    shared: dict[str, Any] = {
        "encoder_hidden_dim": 16,
        "encoder_ffn_dim": 16,
        "encoder_attention_heads": 2,
        "encoder_in_channels": [16, 32, 64],
        "d_model": 16,
        "decoder_in_channels": [16, 16, 16],
        "decoder_ffn_dim": 16,
        "decoder_attention_heads": 2,
        "decoder_layers": 2,
        "num_queries": 12,
        "num_denoising": 0,
        **labels,
    }
    processor = RTDetrImageProcessorPil(size={"height": side, "width": side})
    if kind == "d_fine":
        hgnet: dict[str, Any] = {
            "hidden_sizes": [8, 16, 32, 64],
            "stem_channels": [3, 8, 8],
            "stage_in_channels": [8, 8, 16, 32],
            "stage_mid_channels": [8, 8, 8, 8],
            "stage_out_channels": [8, 16, 32, 64],
            "stage_num_blocks": [1, 1, 1, 1],
            "stage_numb_of_layers": [1, 1, 1, 1],
            "out_indices": [2, 3, 4],
        }
        backbone = library.HGNetV2Config(**hgnet)
        d_fine = library.DFineConfig(backbone_config=backbone, lqe_hidden_dim=8, depth_mult=0.34, **shared)
        return library.DFineForObjectDetection(d_fine), processor
    resnet: dict[str, Any] = {
        "embedding_size": 8,
        "hidden_sizes": [8, 16, 32, 64],
        "depths": [1, 1, 1, 1],
        "layer_type": "basic",
        "out_indices": [2, 3, 4],
    }
    v2 = library.RTDetrV2Config(backbone_config=library.RTDetrResNetConfig(**resnet), **shared)
    return library.RTDetrV2ForObjectDetection(v2), processor


def _spread(model: Any) -> None:
    """Larger random weights; as they are initialized, all queries would give nearly the same box."""
    import torch

    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "class" in name or "score" in name or "detection_tokens" in name:
                parameter.normal_(std=0.7)
            elif "bbox" in name:
                parameter.normal_(std=0.3)
