"""A random LLaVA with a few thousand weights in the standard layout, for tests that need a real model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers as _transformers
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

transformers: Any = _transformers  # its annotations are wrong

IMAGE_SIZE, PATCH = 32, 8
SPECIAL = ("<pad>", "<s>", "</s>", "<image>")
TEMPLATE = (
    "{% for message in messages %}USER: {% for part in message['content'] %}{% if part['type'] == 'image' %}"
    "<image>\n{% else %}{{ part['text'] }}{% endif %}{% endfor %} {% endfor %}ASSISTANT:"
)


def build_tiny_llava(
    folder: Path, *, vocab: Path | None = None, chat_template: str | None = TEMPLATE, seed: int = 0
) -> Path:
    """Saves a model and its processor, with a BERT vocabulary or, by default, with bytes as tokens."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    tokenizer = byte_tokenizer() if vocab is None else bert_tokenizer(vocab)
    processor = transformers.LlavaProcessor(
        image_processor=transformers.CLIPImageProcessorPil(
            size={"shortest_edge": IMAGE_SIZE}, crop_size={"height": IMAGE_SIZE, "width": IMAGE_SIZE}
        ),
        tokenizer=tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=chat_template,
    )
    model = _model(tokenizer)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def byte_tokenizer(special: Sequence[str] = SPECIAL, **options: Any) -> Any:
    """A tokenizer with the special tokens first, then one token for each byte."""
    pieces = list(special) + sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={piece: i for i, piece in enumerate(pieces)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    names = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"}
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, **{**names, "additional_special_tokens": ["<image>"], **options}
    )


def bert_tokenizer(vocab: Path) -> Any:
    tokenizer = transformers.BertTokenizer(vocab=str(vocab))
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"], "eos_token": "[SEP]"})
    return tokenizer


def _model(tokenizer: Any, heads: int = 4) -> Any:
    text = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=heads,
        max_position_embeddings=1024,
        # Far from the usual 0.02, so that texts differ from image to image.
        initializer_range=0.5,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    vision = transformers.CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=IMAGE_SIZE,
        patch_size=PATCH,
        projection_dim=32,
        initializer_factor=5.0,
    )
    config = transformers.LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        image_seq_length=(IMAGE_SIZE // PATCH) ** 2,
    )
    model = transformers.LlavaForConditionalGeneration(config).eval()
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    return model


def build_tiny_llava_next(folder: Path, *, seed: int = 0, heads: int = 4) -> Path:
    """Saves a LLaVA-NeXT, which splits images into tiles by their shape, so that prompts differ in length."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    tokenizer, side = byte_tokenizer(), IMAGE_SIZE
    grid = [[side, 2 * side], [2 * side, side], [2 * side, 2 * side]]
    processor = transformers.LlavaNextProcessor(
        image_processor=transformers.LlavaNextImageProcessorPil(
            size={"shortest_edge": side}, crop_size={"height": side, "width": side}, image_grid_pinpoints=grid
        ),
        tokenizer=tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    )
    parts = _model(tokenizer, heads).config
    config = transformers.LlavaNextConfig(
        vision_config=parts.vision_config,
        text_config=parts.text_config,
        image_token_index=parts.image_token_index,
        image_grid_pinpoints=grid,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
    )
    model = transformers.LlavaNextForConditionalGeneration(config).eval()
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    _use_published_names(folder / "model.safetensors")
    return folder


def _use_published_names(weights: Path) -> None:
    """Names weights of the vision tower as published models do; vLLM reads no others."""
    loaded = load_file(weights)
    named = {name.replace("vision_tower.", "vision_tower.vision_model."): loaded[name] for name in loaded}
    save_file(named, weights, metadata={"format": "pt"})
