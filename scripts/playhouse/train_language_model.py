"""Step 2 of the embedded VLM: trains a tiny Llama to describe what the frozen tower of step 1 sees.

Emotion words come in here, as in LLaVA: the tower knows expressions and places, and the language model learns
from many scenes, with all combinations of them, what they mean. Saves a Hugging Face LLaVA folder (float16)
with its processor.

    python scripts/playhouse/train_language_model.py --tower runs/playhouse/tower --out runs/playhouse/llava
"""

import argparse
import json
import math
import random
import re
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.nn import functional
from training_scenes import IMAGE_SIZE, MEAN, PATCH, STD, sample_batch
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionModel,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from mien.describe.prompts import get_prompt
from mien.labels import BOLD, CAERS, EMOTIC
from mien.playhouse.rules import score_basic_emotions, score_emotions
from mien.playhouse.scene import Scene, sample_scene
from mien.playhouse.text import WHO_BOXED, WHO_MAIN, describe_emotions, describe_scene

WIDTH = 192
IGNORED = -100  # cross_entropy's own index for "no loss here"
TEMPLATE = (
    "{% for message in messages %}"
    "{{ 'USER: ' if message['role'] == 'user' else 'ASSISTANT: ' }}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>\n{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}"
    "{{ ' ' if message['role'] == 'user' else '</s>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
PROMPTS = {
    "emotic": get_prompt("paper").render(EMOTIC),
    "bold": get_prompt("paper").render(BOLD),
    "caers": get_prompt("paper").render(CAERS),
    "main": get_prompt("paper_no_box").render(EMOTIC),
    "main_caers": get_prompt("paper_no_box").render(CAERS),
    "caption": get_prompt("caption").render(EMOTIC),
}
# Weights of the prompts for scenes with the box drawn, and without it.
BOXED = {"emotic": 70, "bold": 9, "caers": 11, "caption": 10}
BARE = {"main": 50, "main_caers": 10, "caption": 40}


def answer(scene: Scene, prompt_name: str) -> str:
    """The ideal answer to a prompt about a scene."""
    if prompt_name == "caption":
        return describe_scene(scene)
    scores = score_emotions(scene.place, scene.person)
    if prompt_name.endswith("caers"):
        scores = score_basic_emotions(scores)
    return describe_emotions(scene, scores, WHO_MAIN if prompt_name.startswith("main") else WHO_BOXED)


def train_tokenizer(seed: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE, so that any text can be read; words of Playhouse descriptions are one token each."""
    rng = random.Random(seed)
    scenes = [sample_scene(rng, even=True) for _ in range(4000)]
    texts = [answer(scene, name) for scene in scenes for name in ("emotic", "caption")]
    texts += [f"USER: \n{text} ASSISTANT:" for text in PROMPTS.values()] * 200
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<pad>", "<s>", "</s>", "<image>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=960, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>", padding_side="left"
    )


def build_processor(tokenizer: PreTrainedTokenizerFast) -> LlavaProcessor:
    image_processor = CLIPImageProcessorPil(
        size={"shortest_edge": IMAGE_SIZE},
        crop_size={"height": IMAGE_SIZE, "width": IMAGE_SIZE},
        image_mean=[MEAN] * 3,
        image_std=[STD] * 3,
    )
    return LlavaProcessor(
        image_processor=image_processor,
        tokenizer=tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    )


def build_llava(tower: CLIPVisionModel, tokenizer: PreTrainedTokenizerFast) -> LlavaForConditionalGeneration:
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=6,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    config = LlavaConfig(
        vision_config=tower.config,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        image_seq_length=(IMAGE_SIZE // PATCH) ** 2,
        tie_word_embeddings=True,
    )
    model = LlavaForConditionalGeneration(config)
    model.model.vision_tower.load_state_dict(tower.state_dict())
    model.model.vision_tower.requires_grad_(False)
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    return model


class PromptTokens:
    """Tokenizes prompts and answers: [left padding, prompt with image tokens, answer, </s>]."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self.tokenizer = tokenizer
        image = "<image>" * (IMAGE_SIZE // PATCH) ** 2
        self.prompts = {
            name: tokenizer(f"USER: {image}\n{text} ASSISTANT:", add_special_tokens=False).input_ids
            for name, text in PROMPTS.items()
        }

    def encode(self, scenes: Sequence[Scene], prompt_names: Sequence[str]) -> dict[str, torch.Tensor]:
        """`input_ids`, `attention_mask`, `labels` (loss on the answer alone), each [scene, token]."""
        rows = []
        for scene, name in zip(scenes, prompt_names, strict=True):
            reply = self.tokenizer(f" {answer(scene, name)}</s>", add_special_tokens=False).input_ids
            rows.append((self.prompts[name], reply))
        length = max(len(prompt_ids) + len(reply) for prompt_ids, reply in rows)
        pad = self.tokenizer.pad_token_id
        sizes = [len(prompt_ids) + len(reply) for prompt_ids, reply in rows]
        ids = [
            [pad] * (length - size) + prompt_ids + reply
            for size, (prompt_ids, reply) in zip(sizes, rows, strict=True)
        ]
        mask = [[0] * (length - size) + [1] * size for size in sizes]
        labels = [[IGNORED] * (length - len(reply)) + reply for _, reply in rows]
        names = ("input_ids", "attention_mask", "labels")
        return {name: torch.tensor(value) for name, value in zip(names, (ids, mask, labels), strict=True)}


def choose_prompts(rng: random.Random, boxed: Sequence[bool]) -> list[str]:
    return [
        rng.choices(list(table), table.values())[0] for table in (BOXED if box else BARE for box in boxed)
    ]


def loss_of(
    model: LlavaForConditionalGeneration, pixels: torch.Tensor, tokens: dict[str, torch.Tensor]
) -> torch.Tensor:
    """Cross-entropy of the answer's tokens; the prompt's logits are not computed."""
    labels = tokens["labels"][:, 1:]
    hidden_states = model.model(
        pixel_values=pixels,
        input_ids=tokens["input_ids"],
        attention_mask=tokens["attention_mask"],
        use_cache=False,
    ).last_hidden_state[:, :-1]
    is_answer = labels != IGNORED
    return functional.cross_entropy(model.lm_head(hidden_states[is_answer]).float(), labels[is_answer])


def train(args: argparse.Namespace) -> None:
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    rng = random.Random(args.seed)
    tower = CLIPVisionModel.from_pretrained(args.tower, attn_implementation="sdpa").eval()
    tokenizer = train_tokenizer(args.seed)
    model, prompts = build_llava(tower, tokenizer), PromptTokens(tokenizer)
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=args.lr, weight_decay=0.02, betas=(0.9, 0.98))
    args.out.mkdir(parents=True, exist_ok=True)
    log, start = (args.out / "speech.jsonl").open("w"), time.monotonic()
    for step in range(args.steps):
        progress = step / args.steps
        rate = args.lr * min(1, step / 150) * (0.5 * (1 + math.cos(math.pi * progress)) * 0.98 + 0.02)
        for group in optimizer.param_groups:
            group["lr"] = rate
        batch = sample_batch(rng, args.batch, reject_crowded=max(0.0, 0.5 - 3 * progress), boxed=0.88)
        tokens = prompts.encode(batch.scenes, choose_prompts(rng, batch.boxed))
        with torch.autocast("cpu", torch.bfloat16):
            loss = loss_of(model, batch.pixels, tokens)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        if step % 25 == 0 or step == args.steps - 1:
            line = {"step": step, "seconds": round(time.monotonic() - start), "loss": round(loss.item(), 4)}
            print(json.dumps(line), file=log, flush=True)
        if step % 200 == 199:
            save(model, tokenizer, args.out)
    save(model, tokenizer, args.out)


def save(model: LlavaForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    """Saves in float16, at half the size; the accuracy is measured with the saved folder."""
    state = {name: weight.half() for name, weight in model.state_dict().items() if name != "lm_head.weight"}
    model.save_pretrained(out, state_dict=state)
    build_processor(tokenizer).save_pretrained(out)
    _use_published_names(out)


def _use_published_names(folder: Path) -> None:
    """Gives files the names of published LLaVA models, which vLLM and transformers 4 read as well."""
    weights, settings = folder / "model.safetensors", folder / "tokenizer_config.json"
    published = {
        re.sub(r"^vision_tower\.(?!vision_model\.)", "vision_tower.vision_model.", name): weight
        for name, weight in load_file(weights).items()
    }
    save_file(published, weights, metadata={"format": "pt"})
    tokenizer = json.loads(settings.read_text())
    tokenizer |= {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_input_names": ["input_ids", "attention_mask"],
    }
    settings.write_text(json.dumps(tokenizer, indent=2, sort_keys=True) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tower", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=2400)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--threads", type=int, default=2)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
