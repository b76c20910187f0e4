"""Random CLIP and SigLIP models of images and texts, with their own processors."""

from pathlib import Path
from typing import Any

import torch
import transformers as _transformers
from tests.factories.tiny_llava import byte_tokenizer
from tokenizers.processors import TemplateProcessing

transformers: Any = _transformers  # its annotations are wrong

SIDE = 24
_TOWER: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "initializer_range": 0.3,
}
_VISION = {**_TOWER, "image_size": SIDE, "patch_size": 6}


def build_tiny_clip_pair(folder: Path) -> Path:
    """A CLIP, which reads a text at its end token."""
    # With the number 2 for the end, transformers takes the token of the highest number, as for OpenAI's.
    tokenizer = byte_tokenizer(("<pad>", "<s>", "<unused>", "</s>"), additional_special_tokens=[])
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 3)]
    )
    text = _text(tokenizer, initializer_factor=5.0)
    config = transformers.CLIPConfig(
        text_config=text, vision_config={**_VISION, "initializer_factor": 5.0}, projection_dim=16
    )
    processor = transformers.CLIPProcessor(
        image_processor=transformers.CLIPImageProcessorPil(
            size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}
        ),
        tokenizer=tokenizer,
    )
    return _save(folder, transformers.CLIPModel, config, processor)


def build_tiny_siglip_pair(folder: Path) -> Path:
    tokenizer = byte_tokenizer(
        ("<pad>", "<s>", "</s>"), additional_special_tokens=[], model_input_names=["input_ids"]
    )
    config = transformers.SiglipConfig(text_config=_text(tokenizer), vision_config=_VISION)
    processor = transformers.SiglipProcessor(
        image_processor=transformers.SiglipImageProcessorPil(size={"height": SIDE, "width": SIDE}),
        tokenizer=tokenizer,
    )
    return _save(folder, transformers.SiglipModel, config, processor)


def _text(tokenizer: Any, **more: Any) -> dict[str, Any]:
    return {
        **_TOWER,
        **more,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 64,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "projection_size": 16,
    }


def _save(folder: Path, model_class: Any, config: Any, processor: Any) -> Path:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = model_class(config).eval()
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
