"""Tiny InstructBLIP, BLIP-2 and BERT models of transformers, and our Q-Former of the same size."""

from typing import Any

import torch
import transformers

from mien.model.qformer import QFormer, QFormerConfig

IMAGE_DIM, WIDTH, VOCAB_SIZE, NUM_QUERIES = 20, 32, 50, 6
SIZES: dict[str, Any] = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": WIDTH,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
}
QFORMER: dict[str, Any] = {**SIZES, "encoder_hidden_size": IMAGE_DIM, "cross_attention_frequency": 2}
VISION: dict[str, Any] = {
    "hidden_size": IMAGE_DIM,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 8,
    "patch_size": 4,
}
TEXT: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "vocab_size": 20,
}


def randomize(model: torch.nn.Module) -> Any:
    """Draws weights large enough that each has an effect."""
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.3 * torch.randn_like(parameter))
    return model.train(mode=False)


def instructblip(**changes: int) -> Any:
    return randomize(
        transformers.InstructBlipForConditionalGeneration(
            transformers.InstructBlipConfig(
                vision_config=VISION,
                qformer_config={**QFORMER, **changes},
                text_config=TEXT,
                num_query_tokens=NUM_QUERIES,
                image_token_index=19,
            )
        )
    )


def blip2() -> Any:
    config = transformers.Blip2Config(
        vision_config=VISION,
        qformer_config={**QFORMER, "use_qformer_text_input": True},
        text_config={**TEXT, "model_type": "opt", "word_embed_proj_dim": 16, "ffn_dim": 16},
        num_query_tokens=NUM_QUERIES,
        image_text_hidden_size=8,
    )
    return randomize(transformers.Blip2ForImageTextRetrieval(config))


def bert() -> Any:
    return randomize(transformers.BertForMaskedLM(transformers.BertConfig(**SIZES)))


def qformer(**changes: Any) -> QFormer:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "image_dim": IMAGE_DIM,
        "vocab_size": VOCAB_SIZE,
        "num_queries": NUM_QUERIES,
        "width": WIDTH,
        "layers": 3,
        "heads": 4,
        "feedforward": 48,
        "max_positions": 40,
        "keep_text": True,
    }
    return QFormer(QFormerConfig(**{**sizes, **changes})).eval()


def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    image = torch.randn(2, 5, IMAGE_DIM, generator=generator)
    ids = torch.randint(0, VOCAB_SIZE, (2, 7), generator=generator)
    return image, ids, torch.arange(7) < torch.tensor([[7], [4]])
