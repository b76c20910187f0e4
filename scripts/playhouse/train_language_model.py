"""Step 2 of the embedded VLM: trains a tiny Llama to describe what the frozen tower of step 1 sees.

Emotion words come in here, as in LLaVA: the tower knows faces and occasions, and the language model learns
from many scenes, with all situations, what they mean. A fifth of the batches asks about single labels, yes or
no or a rating, which the model does not learn to answer (docs/log.md). Saves a Hugging Face LLaVA folder
(float16) with its processor, and two along the way (`ladder/early`, `ladder/middle`). A killed training goes
on where its last checkpoint was.

    python scripts/playhouse/train_language_model.py --scenes runs/playhouse/scenes \\
        --tower runs/playhouse/tower --out runs/playhouse/llava
"""

import argparse
import json
import random
import re
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from checkpoints import load_checkpoint, save_checkpoint
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.nn import functional
from train_tower import learning_rate, patch_features, sample_indices
from training_scenes import IMAGE_SIZE, MEAN, PATCH, STD, TrainingScenes
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
from mien.playhouse.rules import THRESHOLD, observe, score_emotions
from mien.playhouse.scene import Scene, sample_scene
from mien.playhouse.text import (
    WHO_BOXED,
    WHO_MAIN,
    ask_rating,
    ask_yes_no,
    describe_emotions,
    describe_scene,
)

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
BOXED = {"emotic": 72, "bold": 9, "caers": 11, "caption": 8}
BARE = {"main": 50, "main_caers": 10, "caption": 40}
QUESTIONS = ("yes_no", "yes_no", "rating")
QUESTION_SHARE = 0.2  # of all batches; questions are short, so a batch has more of them
QUESTIONS_PER_SCENE = 3
# Annotators disagree; an answer is drawn from one, so that the probability of "yes" means something.
ANSWER_NOISE = 1.4

Dialog = tuple[str, str]  # prompt and answer


def answer(scene: Scene, prompt_name: str) -> str:
    """The ideal answer to a prompt about a scene."""
    if prompt_name == "caption":
        return describe_scene(scene)
    who = WHO_MAIN if prompt_name.startswith("main") else WHO_BOXED
    return describe_emotions(scene, who, basic=prompt_name.endswith("caers"))


def sample_dialog(rng: random.Random, scene: Scene, boxed: bool) -> Dialog:
    table = BOXED if boxed else BARE
    (name,) = rng.choices(list(table), table.values())
    return PROMPTS[name], answer(scene, name)


def sample_question(rng: random.Random, scene: Scene, boxed: bool) -> Dialog:
    """A question about one label: half of the labels are among those that apply most."""
    scores = score_emotions(observe(scene))
    ranked = sorted(scores, key=scores.__getitem__, reverse=True)
    label = rng.choice(ranked[:5]) if rng.random() < 0.5 else rng.choice(ranked)
    who = WHO_BOXED if boxed else WHO_MAIN
    if rng.choice(QUESTIONS) == "rating":
        return ask_rating(label, who), str(max(0, min(9, round(scores[label] / THRESHOLD * 5))))
    ticked = scores[label] + rng.gauss(0, ANSWER_NOISE) > THRESHOLD
    return ask_yes_no(label, who), "yes" if ticked else "no"


def train_tokenizer(seed: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE, so that any text can be read; words of Playhouse descriptions are one token each."""
    rng = random.Random(seed)
    scenes = [sample_scene(rng, even=True) for _ in range(6000)]
    texts = [answer(scene, name) for scene in scenes for name in ("emotic", "caption")]
    asked = [*PROMPTS.values()]
    asked += [ask(label) for label in (*EMOTIC.labels, *CAERS.labels) for ask in (ask_yes_no, ask_rating)]
    texts += [f"USER: \n{text} ASSISTANT:" for text in asked] * 200
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<pad>", "<s>", "</s>", "<image>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=1120, special_tokens=special, initial_alphabet=alphabet, show_progress=False
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


class DialogTokens:
    """Tokenizes prompts and answers: [left padding, prompt with image tokens, answer, </s>]."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self.tokenizer = tokenizer
        self._image = "<image>" * (IMAGE_SIZE // PATCH) ** 2

    def encode(self, dialogs: Sequence[Dialog]) -> dict[str, torch.Tensor]:
        """`input_ids`, `attention_mask`, `labels` (loss on the answer alone), each [dialog, token]."""
        rows = [
            (
                self._tokenize(f"USER: {self._image}\n{prompt} ASSISTANT:"),
                self._tokenize(f" {reply}</s>"),
            )
            for prompt, reply in dialogs
        ]
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

    def _tokenize(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False).input_ids
        return ids


def loss_of(
    model: LlavaForConditionalGeneration, features: torch.Tensor, tokens: dict[str, torch.Tensor]
) -> torch.Tensor:
    """Cross-entropy of the answer's tokens; neither the tower nor the prompt's logits are computed.

    Args:
        model: The model.
        features: What the tower sees, [dialog, patch, WIDTH].
        tokens: From `DialogTokens`.
    """
    ids, labels = tokens["input_ids"], tokens["labels"][:, 1:]
    embeddings = model.get_input_embeddings()(ids)
    images = model.model.multi_modal_projector(features)
    is_image = (ids == model.config.image_token_index)[..., None].expand_as(embeddings)
    hidden_states = model.model.language_model(
        inputs_embeds=embeddings.masked_scatter(is_image, images.to(embeddings.dtype)),
        attention_mask=tokens["attention_mask"],
        use_cache=False,
    ).last_hidden_state[:, :-1]
    is_answer = labels != IGNORED
    return functional.cross_entropy(model.lm_head(hidden_states[is_answer]), labels[is_answer])


def encode_scenes(tower: CLIPVisionModel, scenes: TrainingScenes, path: Path) -> np.ndarray:
    """[scene, patch, WIDTH] in float16, computed once; an interrupted computation starts again."""
    if not path.exists():
        shape = (len(scenes), (IMAGE_SIZE // PATCH) ** 2, WIDTH)
        unfinished = path.with_name("unfinished.npy")
        features = np.lib.format.open_memmap(unfinished, "w+", np.float16, shape)
        with torch.inference_mode():
            for start in range(0, len(scenes), 64):
                rows = range(start, min(start + 64, len(scenes)))
                features[start : start + 64] = patch_features(tower, scenes.pixels(rows)).half().numpy()
        features.flush()
        unfinished.rename(path)
    return np.load(path, mmap_mode="r")


def sample_batch(
    rng: random.Random, scenes: TrainingScenes, size: int, reject_crowded: float
) -> tuple[list[int], list[Dialog]]:
    """Indices of scenes, and a dialog about each."""
    if rng.random() < QUESTION_SHARE:
        indices = sample_indices(rng, scenes, size, reject_crowded) * QUESTIONS_PER_SCENE
        return indices, [sample_question(rng, scenes.scene(i), scenes.boxed(i)) for i in indices]
    indices = sample_indices(rng, scenes, size, reject_crowded)
    return indices, [sample_dialog(rng, scenes.scene(i), scenes.boxed(i)) for i in indices]


def train(args: argparse.Namespace) -> None:
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    rng = random.Random(args.seed)
    tower = CLIPVisionModel.from_pretrained(args.tower, attn_implementation="sdpa").eval()
    scenes = TrainingScenes(args.scenes)
    args.out.mkdir(parents=True, exist_ok=True)
    features = encode_scenes(tower, scenes, args.tower / "features.npy")
    tokenizer = train_tokenizer(args.seed)
    model, dialogs = build_llava(tower, tokenizer), DialogTokens(tokenizer)
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=args.lr, weight_decay=0.02, betas=(0.9, 0.98))
    checkpoint = args.out / "checkpoint.pt"
    first = load_checkpoint(checkpoint, rng, model=model, optimizer=optimizer)
    start = time.monotonic()
    rungs = {args.steps // 8: "early", args.steps // 3: "middle"}
    with (args.out / "speech.jsonl").open("a" if first else "w") as log:
        for step in range(first, args.steps):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(args.lr, step, args.steps)
            indices, asked = sample_batch(rng, scenes, args.batch, max(0.0, 0.5 - 3 * step / args.steps))
            loss = loss_of(
                model,
                torch.from_numpy(np.stack([features[i] for i in indices])).float(),
                dialogs.encode(asked),
            )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            if step % 25 == 0 or step == args.steps - 1:
                line = {
                    "step": step,
                    "seconds": round(time.monotonic() - start),
                    "loss": round(loss.item(), 4),
                }
                print(json.dumps(line), file=log, flush=True)
            if step in rungs:
                save(model, tokenizer, args.out / "ladder" / rungs[step])
            if step % 100 == 99:
                save_checkpoint(checkpoint, step + 1, rng, model=model, optimizer=optimizer)
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
    parser.add_argument("--scenes", type=Path, required=True)
    parser.add_argument("--tower", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--threads", type=int, default=2)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
