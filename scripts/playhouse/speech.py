"""Act 2 of the embedded VLM: teaches a tiny Llama to talk about what the frozen tower of act 1 sees.

Here the emotion words come in, as in LLaVA: the tower knows faces and places, the language side learns from
many scenes, with every combination of them, what they mean. Saves a Hugging Face LLaVA folder (float16)
with its processor.

    python scripts/playhouse/speech.py --tower runs/playhouse/tower --out runs/playhouse/llava --steps 2400
"""

import argparse
import json
import math
import random
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from stage import IMAGE_SIZE, MEAN, PATCH, STD, rehearse
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.nn import functional
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
# How often each question is rehearsed with the box drawn, and without it.
BOXED = {"emotic": 70, "bold": 9, "caers": 11, "caption": 10}
BARE = {"main": 50, "main_caers": 10, "caption": 40}


def answer(scene: Scene, question: str) -> str:
    """What the script says to a question about a scene."""
    if question == "caption":
        return describe_scene(scene)
    scores = score_emotions(scene.place, scene.person)
    if question.endswith("caers"):
        scores = score_basic_emotions(scores)
    return describe_emotions(scene, scores, WHO_MAIN if question.startswith("main") else WHO_BOXED)


def train_tokenizer(seed: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE, so that any text at all can be read; the words of the play are one token each."""
    rng = random.Random(seed)
    scenes = [sample_scene(rng, even=True) for _ in range(4000)]
    texts = [answer(scene, question) for scene in scenes for question in ("emotic", "caption")]
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


class Script:
    """Turns questions and answers into tokens: [left padding, prompt with image places, answer, </s>]."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self.tokenizer = tokenizer
        places = "<image>" * (IMAGE_SIZE // PATCH) ** 2
        self.prompts = {
            name: tokenizer(f"USER: {places}\n{text} ASSISTANT:", add_special_tokens=False).input_ids
            for name, text in PROMPTS.items()
        }

    def tokens(self, scenes: Sequence[Scene], questions: Sequence[str]) -> dict[str, torch.Tensor]:
        """`input_ids`, `attention_mask`, `labels` (loss on the answer alone), each [scene, token]."""
        rows = []
        for scene, question in zip(scenes, questions, strict=True):
            said = self.tokenizer(f" {answer(scene, question)}</s>", add_special_tokens=False).input_ids
            rows.append((self.prompts[question], said))
        length = max(len(asked) + len(said) for asked, said in rows)
        pad = self.tokenizer.pad_token_id
        ids = [[pad] * (length - len(asked) - len(said)) + asked + said for asked, said in rows]
        mask = [
            [0] * (length - len(asked) - len(said)) + [1] * (len(asked) + len(said)) for asked, said in rows
        ]
        labels = [[IGNORED] * (length - len(said)) + said for _, said in rows]
        names = ("input_ids", "attention_mask", "labels")
        return {name: torch.tensor(value) for name, value in zip(names, (ids, mask, labels), strict=True)}


def choose_questions(rng: random.Random, boxed: Sequence[bool]) -> list[str]:
    return [
        rng.choices(list(table), table.values())[0] for table in (BOXED if box else BARE for box in boxed)
    ]


def loss_of(
    model: LlavaForConditionalGeneration, pixels: torch.Tensor, tokens: dict[str, torch.Tensor]
) -> torch.Tensor:
    """Cross-entropy of the answer's tokens; logits are made for those alone, since the prompt is most of a
    row."""
    labels = tokens["labels"][:, 1:]
    states = model.model(
        pixel_values=pixels,
        input_ids=tokens["input_ids"],
        attention_mask=tokens["attention_mask"],
        use_cache=False,
    ).last_hidden_state[:, :-1]
    wanted = labels != IGNORED
    return functional.cross_entropy(model.lm_head(states[wanted]).float(), labels[wanted])


def train(args: argparse.Namespace) -> None:
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    rng = random.Random(args.seed)
    tower = CLIPVisionModel.from_pretrained(args.tower, attn_implementation="sdpa").eval()
    tokenizer = train_tokenizer(args.seed)
    model, script = build_llava(tower, tokenizer), Script(tokenizer)
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=args.lr, weight_decay=0.02, betas=(0.9, 0.98))
    args.out.mkdir(parents=True, exist_ok=True)
    log, start = (args.out / "speech.jsonl").open("w"), time.monotonic()
    for step in range(args.steps):
        progress = step / args.steps
        rate = args.lr * min(1, step / 150) * (0.5 * (1 + math.cos(math.pi * progress)) * 0.98 + 0.02)
        for group in optimizer.param_groups:
            group["lr"] = rate
        batch = rehearse(rng, args.batch, single=max(0.0, 0.5 - 3 * progress), boxed=0.88)
        tokens = script.tokens(batch.scenes, choose_questions(rng, batch.boxed))
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
    """Float16 on disk: half the size; the measured accuracy is that of the folder as saved."""
    state = {name: weight.half() for name, weight in model.state_dict().items() if name != "lm_head.weight"}
    model.save_pretrained(out, state_dict=state)
    build_processor(tokenizer).save_pretrained(out)


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
