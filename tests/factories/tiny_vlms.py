"""Random models of other families than LLaVA, a few thousand weights each, in the layout of the Hub."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers as _transformers
from safetensors.torch import load_file, save_file
from tests.factories.tiny_llava import byte_tokenizer

transformers: Any = _transformers  # its annotations are wrong

# Head sizes of 32: vLLM has none below on a CPU. Weights far from the usual 0.02, so that texts differ.
WIDTH, HEADS = 64, 2
TEXT = {
    "hidden_size": WIDTH,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": HEADS,
    "num_key_value_heads": HEADS,
    "head_dim": WIDTH // HEADS,
    "max_position_embeddings": 2048,
    "initializer_range": 0.3,
}
VISION = {"hidden_size": WIDTH, "intermediate_size": 96, "initializer_range": 0.1}
LAYERS = {"num_hidden_layers": 2, "num_attention_heads": HEADS}
PIXELS = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}

_PARTS = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% for part in message['content'] %}"
)
_ENDS = "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"


def _template(image: str, end: str = "") -> str:
    """A chat template in the manner of Qwen's, with `image` for each image."""
    part = f"{{% if part['type'] == 'image' %}}{image}{{% else %}}{{{{ part['text'] }}}}{{% endif %}}"
    return _PARTS + part + _ENDS + end


_THINKING = "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"


def build_tiny_qwen2_5_vl(folder: Path) -> Path:
    tokens = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
    tokenizer = _tokenizer(tokens)
    config = transformers.Qwen2_5_VLConfig(
        text_config={**_text(tokenizer), "rope_parameters": _mrope()},
        vision_config={
            **VISION,
            "depth": 2,
            "num_heads": HEADS,
            "out_hidden_size": WIDTH,
            "window_size": 56,
            "fullatt_block_indexes": [1],
        },
        **_ids(tokenizer, ("image_token_id", "<|image_pad|>"), ("video_token_id", "<|video_pad|>")),
        **_ids(
            tokenizer,
            ("vision_start_token_id", "<|vision_start|>"),
            ("vision_end_token_id", "<|vision_end|>"),
        ),
    )
    settings = {
        "preprocessor_config.json": {
            **PIXELS,
            "image_processor_type": "Qwen2VLImageProcessor",
            "processor_class": "Qwen2_5_VLProcessor",
            "min_pixels": 28 * 28 * 4,
            "max_pixels": 28 * 28 * 16,
            "patch_size": 14,
            "temporal_patch_size": 2,
            "merge_size": 2,
        }
    }
    template = _template("<|vision_start|><|image_pad|><|vision_end|>")
    model = _random(transformers.Qwen2_5_VLForConditionalGeneration, config)
    return _save(folder, model, tokenizer, settings, template)


def build_tiny_qwen3_vl(folder: Path) -> Path:
    """Its chat template opens and closes the reasoning if thinking is turned off."""
    tokens = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
    tokenizer = _tokenizer(tokens)
    config = transformers.Qwen3VLConfig(
        text_config={**_text(tokenizer), "rope_parameters": _mrope(mrope_interleaved=True)},
        vision_config={
            **VISION,
            "depth": 3,
            "num_heads": HEADS,
            "out_hidden_size": WIDTH,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0, 1],
        },
        **_ids(tokenizer, ("image_token_id", "<|image_pad|>"), ("video_token_id", "<|video_pad|>")),
        **_ids(
            tokenizer,
            ("vision_start_token_id", "<|vision_start|>"),
            ("vision_end_token_id", "<|vision_end|>"),
        ),
    )
    common = {**PIXELS, "patch_size": 16, "temporal_patch_size": 2, "merge_size": 2}
    size = {"shortest_edge": 32 * 32 * 4, "longest_edge": 32 * 32 * 16}
    settings = {
        "preprocessor_config.json": {
            **common,
            "image_processor_type": "Qwen2VLImageProcessorFast",
            "processor_class": "Qwen3VLProcessor",
            "size": size,
        },
        "video_preprocessor_config.json": {
            **common,
            "video_processor_type": "Qwen3VLVideoProcessor",
            "processor_class": "Qwen3VLProcessor",
            "size": size,
        },
    }
    template = _template("<|vision_start|><|image_pad|><|vision_end|>", _THINKING)
    model = _random(transformers.Qwen3VLForConditionalGeneration, config)
    return _save(folder, model, tokenizer, settings, template)


def build_tiny_smolvlm(folder: Path) -> Path:
    tiles = [f"<row_{row}_col_{column}>" for row in range(1, 5) for column in range(1, 5)]
    names = ["<fake_token_around_image>", "<image>", "<global-img>", "<end_of_utterance>"]
    tokenizer = _tokenizer(names + tiles)
    config = transformers.SmolVLMConfig(
        text_config={**_text(tokenizer), "model_type": "llama"},
        vision_config={**VISION, **LAYERS, "image_size": 64, "patch_size": 16},
        scale_factor=2,
        tie_word_embeddings=False,
        pad_token_id=tokenizer.pad_token_id,
        **_ids(tokenizer, ("image_token_id", "<image>")),
    )
    settings = {
        "preprocessor_config.json": {
            **PIXELS,
            "image_processor_type": "SmolVLMImageProcessor",
            "processor_class": "SmolVLMProcessor",
            "do_convert_rgb": True,
            "do_image_splitting": True,
            "do_normalize": True,
            "do_pad": True,
            "do_rescale": True,
            "do_resize": True,
            "max_image_size": {"longest_edge": 64},
            "size": {"longest_edge": 128},
            "resample": 1,
            "rescale_factor": 1 / 255,
            "video_sampling": {"fps": 1, "max_frames": 64, "video_size": {"longest_edge": 64}},
        },
        "processor_config.json": {"image_seq_len": 4, "processor_class": "SmolVLMProcessor"},
    }
    model = _random(transformers.SmolVLMForConditionalGeneration, config)
    return _save(folder, model, tokenizer, settings, _template("<image>"))


def build_tiny_internvl(folder: Path) -> Path:
    tokens = {
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    }
    tokenizer = _tokenizer(tokens)
    config = transformers.InternVLConfig(
        text_config={**_text(tokenizer), "model_type": "qwen2"},
        vision_config={**VISION, **LAYERS, "image_size": [56, 56], "patch_size": [14, 14]},
        image_seq_length=4,
        tie_word_embeddings=False,
        **_ids(tokenizer, ("image_token_id", "<IMG_CONTEXT>")),
    )
    settings = {
        "preprocessor_config.json": {
            **PIXELS,
            "image_processor_type": "GotOcr2ImageProcessorFast",
            "processor_class": "InternVLProcessor",
            "crop_to_patches": False,
            "do_resize": True,
            "max_patches": 12,
            "min_patches": 1,
            "size": {"height": 56, "width": 56},
        },
        "video_preprocessor_config.json": {
            **PIXELS,
            "video_processor_type": "InternVLVideoProcessor",
            "processor_class": "InternVLProcessor",
            "size": {"height": 56, "width": 56},
        },
        "processor_config.json": {"image_seq_length": 4, "processor_class": "InternVLProcessor"},
    }
    model = _random(transformers.InternVLForConditionalGeneration, config)
    return _save(folder, model, tokenizer, settings, _template("<IMG_CONTEXT>\n"))


def build_tiny_llava_onevision(folder: Path) -> Path:
    tokenizer = _tokenizer({"image_token": "<image>", "video_token": "<video>"})
    grid = [[56, 112], [112, 56], [112, 112]]
    config = transformers.LlavaOnevisionConfig(
        text_config={**_text(tokenizer), "model_type": "qwen2"},
        vision_config={
            **VISION,
            **LAYERS,
            "model_type": "siglip_vision_model",
            "image_size": 56,
            "patch_size": 14,
            "vision_use_head": False,
        },
        image_grid_pinpoints=grid,
        **_ids(tokenizer, ("image_token_index", "<image>"), ("video_token_index", "<video>")),
    )
    settings = {
        "preprocessor_config.json": {
            **PIXELS,
            "image_processor_type": "LlavaOnevisionImageProcessor",
            "processor_class": "LlavaOnevisionProcessor",
            "image_grid_pinpoints": grid,
            "do_pad": True,
            "size": {"height": 56, "width": 56},
        },
        "video_preprocessor_config.json": {
            **PIXELS,
            "video_processor_type": "LlavaOnevisionVideoProcessor",
            "processor_class": "LlavaOnevisionProcessor",
            "size": {"height": 56, "width": 56},
        },
        "processor_config.json": {
            "image_token": "<image>",
            "video_token": "<video>",
            "num_image_tokens": 16,
            "processor_class": "LlavaOnevisionProcessor",
            "vision_feature_select_strategy": "full",
        },
    }
    model = _random(transformers.LlavaOnevisionForConditionalGeneration, config)
    return _save(folder, model, tokenizer, settings, _template("<image>\n"))


def build_tiny_gemma3(folder: Path) -> Path:
    tokens = {
        "boi_token": "<start_of_image>",
        "eoi_token": "<end_of_image>",
        "image_token": "<image_soft_token>",
    }
    tokenizer = _tokenizer(tokens)
    tokenizer.add_tokens(["\n" * count for count in range(1, 5)])  # vLLM looks for them
    config = transformers.Gemma3Config(
        text_config={**_text(tokenizer), "query_pre_attn_scalar": 32, "sliding_window": 64},
        vision_config={**VISION, **LAYERS, "image_size": 56, "patch_size": 14, "vision_use_head": False},
        mm_tokens_per_image=4,
        **_ids(
            tokenizer,
            ("boi_token_index", "<start_of_image>"),
            ("eoi_token_index", "<end_of_image>"),
            ("image_token_index", "<image_soft_token>"),
        ),
    )
    settings = {
        "preprocessor_config.json": {
            **PIXELS,
            "image_processor_type": "Gemma3ImageProcessor",
            "processor_class": "Gemma3Processor",
            "do_pan_and_scan": None,
            "image_seq_length": 4,
            "size": {"height": 56, "width": 56},
        },
        "processor_config.json": {"image_seq_length": 4, "processor_class": "Gemma3Processor"},
    }
    model = _random(transformers.Gemma3ForConditionalGeneration, config)
    # It begins at zero, and with that the model would not see the image.
    model.model.multi_modal_projector.mm_input_projection_weight.data.normal_(std=0.1)
    return _save(folder, model, tokenizer, settings, _template("<start_of_image>"))


def build_tiny_idefics3(folder: Path) -> Path:
    """The type of SmolVLM-256M and 500M."""
    tiles = [f"<row_{row}_col_{column}>" for row in range(1, 5) for column in range(1, 5)]
    names = ["<fake_token_around_image>", "<image>", "<global-img>", "<end_of_utterance>"]
    tokenizer = _tokenizer(names + tiles)
    config = transformers.Idefics3Config(
        text_config={**_text(tokenizer), "model_type": "llama"},
        vision_config={**VISION, **LAYERS, "image_size": 64, "patch_size": 16},
        scale_factor=2,
        tie_word_embeddings=False,
        pad_token_id=tokenizer.pad_token_id,
        **_ids(tokenizer, ("image_token_id", "<image>")),
    )
    settings = {
        "preprocessor_config.json": {
            **PIXELS,
            "image_processor_type": "Idefics3ImageProcessor",
            "processor_class": "Idefics3Processor",
            "do_image_splitting": True,
            "max_image_size": {"longest_edge": 64},
            "size": {"longest_edge": 128},
        },
        "processor_config.json": {"image_seq_len": 4, "processor_class": "Idefics3Processor"},
    }
    model = _random(transformers.Idefics3ForConditionalGeneration, config)
    return _save(folder, model, tokenizer, settings, _template("<image>"))


def build_tiny_paligemma(folder: Path) -> Path:
    """Reads the whole prompt in both directions."""
    tokenizer = _tokenizer({"image_token": "<image>"})
    tokenizer.bos_token = "<s>"
    processor = transformers.PaliGemmaProcessor(
        image_processor=transformers.SiglipImageProcessorPil(
            size={"height": 56, "width": 56}, image_seq_length=16
        ),
        tokenizer=tokenizer,
    )
    config = transformers.PaliGemmaConfig(
        text_config={**_text(tokenizer), "model_type": "gemma", "tie_word_embeddings": False},
        vision_config={
            **VISION,
            **LAYERS,
            "model_type": "siglip_vision_model",
            "image_size": 56,
            "patch_size": 14,
            "vision_use_head": False,
        },
        projection_dim=WIDTH,
        tie_word_embeddings=False,
        **_ids(tokenizer, ("image_token_index", "<image>")),
    )
    model = _random(transformers.PaliGemmaForConditionalGeneration, config)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def build_tiny_florence2(folder: Path) -> Path:
    """An encoder reads the prompt; a decoder of its own writes the text."""
    tokenizer = byte_tokenizer(
        ("<s>", "<pad>", "</s>", "<image>"), extra_special_tokens={"image_token": "<image>"}
    )
    processor = transformers.Florence2Processor(
        image_processor=transformers.CLIPImageProcessorPil(
            size={"height": 64, "width": 64},
            crop_size={"height": 64, "width": 64},
            do_center_crop=False,
            image_seq_length=5,  # the 2 x 2 places that are left of a square, and their mean
        ),
        tokenizer=tokenizer,
    )
    config = transformers.Florence2Config(
        text_config={
            "model_type": "bart",
            "vocab_size": len(tokenizer),
            "d_model": WIDTH,
            **{f"{side}_layers": 2 for side in ("encoder", "decoder")},
            **{f"{side}_attention_heads": HEADS for side in ("encoder", "decoder")},
            **{f"{side}_ffn_dim": 96 for side in ("encoder", "decoder")},
            "max_position_embeddings": 256,
            "init_std": 0.3,
            "decoder_start_token_id": tokenizer.eos_token_id,
            **_ids(tokenizer, ("pad_token_id", "<pad>"), ("bos_token_id", "<s>"), ("eos_token_id", "</s>")),
        },
        vision_config={
            "depths": (1, 1, 1, 1),
            "embed_dim": (8, 16, 16, 32),
            "num_heads": (1, 2, 2, 4),
            "num_groups": (1, 2, 2, 4),
            "window_size": 4,
            "projection_dim": WIDTH,
            "max_position_embeddings": 8,
            "initializer_range": 0.2,
        },
        **_ids(tokenizer, ("image_token_id", "<image>")),
    )
    model = _random(transformers.Florence2ForConditionalGeneration, config)
    model.generation_config.forced_bos_token_id = tokenizer.bos_token_id
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


FAMILIES: dict[str, Callable[[Path], Path]] = {
    "gemma3": build_tiny_gemma3,
    "internvl": build_tiny_internvl,
    "llava_onevision": build_tiny_llava_onevision,
    "qwen2_5_vl": build_tiny_qwen2_5_vl,
    "qwen3_vl": build_tiny_qwen3_vl,
    "smolvlm": build_tiny_smolvlm,
}


# --- Parts ---


def _random(model_class: Any, config: Any) -> Any:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    return model_class(config).eval()


def _tokenizer(more: Any) -> Any:
    """Bytes as tokens, and more special tokens: a list, or the tokens by the names that a processor uses."""
    named = more if isinstance(more, dict) else {}
    special = ["<pad>", "<s>", "<|im_start|>", "<|im_end|>", *(named.values() if named else more)]
    return byte_tokenizer(special, bos_token=None, eos_token="<|im_end|>", extra_special_tokens=named or more)


def _text(tokenizer: Any) -> dict[str, Any]:
    return {
        **TEXT,
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
    }


def _mrope(**more: bool) -> dict[str, Any]:
    return {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 6, 6], **more}


def _ids(tokenizer: Any, *pairs: tuple[str, str]) -> dict[str, int]:
    return {name: tokenizer.convert_tokens_to_ids(token) for name, token in pairs}


def _save(folder: Path, model: Any, tokenizer: Any, settings: dict[str, Any], template: str) -> Path:
    if model.config.tie_word_embeddings:  # else each token predicts itself
        model.get_input_embeddings().weight.data *= 0.03
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    if model.config.vision_config.model_type == "siglip_vision_model":
        _use_published_names(folder / "model.safetensors")
    tokenizer.save_pretrained(folder)
    for name, content in settings.items():
        (folder / name).write_text(json.dumps(content))
    (folder / "chat_template.jinja").write_text(template)
    return folder


def _use_published_names(weights: Path) -> None:
    """Gives the vision tower its published names; vLLM does not know the library's newer ones."""
    published = {
        name.replace("vision_tower.", "vision_tower.vision_model."): weight
        for name, weight in load_file(weights).items()
    }
    save_file(published, weights, metadata={"format": "pt"})
