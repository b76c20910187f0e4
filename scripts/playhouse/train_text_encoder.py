"""Trains the text tower of the embedded CLIP, whose vision tower is that of the embedded LLaVA.

The tower is frozen: what it makes of each scene, once with the red box and once cropped to the person, is
computed once, into files. A CLIP reads the class token, which the tower's training did not use, so linear
probes say first what it knows. Then the text tower, both projections and the norm between tower and
projection learn which sentence of an ideal description belongs to which scene. All sentences of a batch are
of one kind, so that they differ in what they say and not in what they are about. Scores of labels are the
mean of both views, and so are those that are learned, along with each view's own. A killed training goes on
where it was.

    python scripts/playhouse/train_text_encoder.py --out runs/playhouse/clip
"""

import argparse
import hashlib
import json
import random
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from checkpoints import load_checkpoint, save_checkpoint
from safetensors.torch import save_file
from sklearn.linear_model import RidgeClassifier
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from torch import nn
from torch.nn import functional
from train_tower import learning_rate
from training_scenes import IMAGE_SIZE, MEAN, STD, normalize, training_scene
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPProcessor,
    LlavaConfig,
    PreTrainedTokenizerFast,
)

from mien.features.vision_tower import load_tower
from mien.media.images import Marking, fit_to_square, mark_subject
from mien.playhouse.draw import draw_scene
from mien.playhouse.embedded_models import embedded_model_folder
from mien.playhouse.scene import EXPRESSIONS, Scene
from mien.playhouse.situations import OCCASIONS, SETTINGS
from mien.playhouse.text import EXPRESSION_PHRASES, OCCASION_PHRASES, SETTING_PHRASES, describe_emotions

SHARD = 256  # scenes per file of features
HELD_OUT = 2  # the last shards, for the evaluation
VIEWS = (Marking(style="red_box"), Marking(style="crop"))
TOKENS = ("class token", "mean of patches")
SPECIAL = ("<pad>", "<unk>", "<s>", "</s>")
WIDTH, PROJECTION = 64, 96
MAX_TOKENS = 48
NOISE = 0.3  # of the features, in standard deviations: there are few scenes
DROPPED, UNKNOWN = 0.5, 0.3  # share of sentences that lack words, and of these words
# What a batch of sentences is about, and how often.
KINDS = {"setting": 1, "occasion": 1, "face": 2, "details": 1, "emotions": 5, "class": 2}
PARTS = (
    "text_model.",
    "text_projection.",
    "visual_projection.",
    "logit_scale",
    "vision_model.post_layernorm.",
)


def sentences(scene: Scene) -> dict[str, str]:
    """The sentences of ideal descriptions by what they are about; "class" names one of CAER-S's classes."""
    setting, occasion, face, *details, emotions = split_sentences(describe_emotions(scene))
    basic = split_sentences(describe_emotions(scene, basic=True))[-1]
    found = {"setting": setting, "occasion": occasion, "face": face, "emotions": emotions, "class": basic}
    return found | {"details": details[0] if details else face}


def split_sentences(text: str) -> list[str]:
    return re.split(r"(?<=\.) ", text)


def build_tokenizer() -> PreTrainedTokenizerFast:
    """One token per word of the descriptions; all other words are unknown, and punctuation is left out."""
    pieces = (embedded_model_folder("words") / "vocab.txt").read_text().split()
    words = [
        piece for piece in pieces if piece.isalpha() and piece.islower() and (len(piece) > 1 or piece == "a")
    ]
    tokenizer = Tokenizer(
        models.WordLevel({word: number for number, word in enumerate((*SPECIAL, *words))}, unk_token="<unk>")
    )
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("[^a-z]+"), "removed")
    tokenizer.post_processor = TemplateProcessing(
        single="<s> $A </s>", special_tokens=[(name, SPECIAL.index(name)) for name in ("<s>", "</s>")]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        model_max_length=MAX_TOKENS,
    )


def build_clip(tokenizer: PreTrainedTokenizerFast) -> CLIPModel:
    """A CLIP with the tower of the embedded LLaVA, frozen, and 80 thousand weights of its own."""
    llava = embedded_model_folder("llava")
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "hidden_act": "gelu",
        "max_position_embeddings": MAX_TOKENS,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    vision = LlavaConfig.from_pretrained(llava).vision_config.to_diff_dict()
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=PROJECTION))
    weights = load_tower(llava).model.state_dict()
    model.vision_model.load_state_dict(
        {name.removeprefix("vision_model."): weights[name] for name in weights}
    )
    model.requires_grad_(False)
    for name, weight in model.named_parameters():
        weight.requires_grad_(name.startswith(PARTS))
    return model.eval()


def encode_scenes(model: CLIPModel, folder: Path, seed: int, number: int) -> np.ndarray:
    """[scene, view, token, width] of a shard of scenes, in float16, computed once."""
    path = folder / f"features-{number:04d}.npy"
    if not path.exists():
        parts = []
        for start in range(number * SHARD, (number + 1) * SHARD, 32):
            pixels = [view for index in range(start, start + 32) for view in draw_views(seed, index)]
            with torch.inference_mode():
                states = model.vision_model(normalize(torch.from_numpy(np.stack(pixels)))).last_hidden_state
            tokens = torch.stack([states[:, 0], states[:, 1:].mean(1)], dim=1)
            parts.append(tokens.unflatten(0, (32, len(VIEWS))).half().numpy())
        unfinished = folder / "unfinished.npy"
        np.save(unfinished, np.concatenate(parts))
        unfinished.rename(path)
        print(f"{path.name}", flush=True)
    return np.load(path)


def draw_views(seed: int, index: int) -> list[np.ndarray]:
    """Pixels from 0 to 255, [3, height, width] per view."""
    scene = training_scene(seed, index)
    drawing = draw_scene(scene)
    marked = [mark_subject(drawing.image, drawing.boxes[scene.subject], marking) for marking in VIEWS]
    return [np.asarray(fit_to_square(one, IMAGE_SIZE, "letterbox")).transpose(2, 0, 1) for one in marked]


class Sentences:
    """The sentences of scenes as tokens, of which some can be made unknown."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, scenes: Sequence[Scene]) -> None:
        self._tokenizer = tokenizer
        rows = [sentences(scene) for scene in scenes]
        self._texts = {kind: [row[kind] for row in rows] for kind in KINDS}
        self._ids = {kind: self.encode(texts) for kind, texts in self._texts.items()}

    def encode(self, texts: list[str]) -> torch.Tensor:
        """[text, token]."""
        return self._tokenizer(texts, padding=True, truncation=True, return_tensors="pt").input_ids

    def batch(self, kind: str, indices: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens, [text, token], and which texts are the same, [text, text]."""
        texts = self._texts[kind]
        same = torch.tensor([[texts[one] == texts[other] for other in indices] for one in indices])
        ids = self._ids[kind][list(indices)]
        is_word = ids >= len(SPECIAL)
        dropped = (torch.rand(len(ids), 1) < DROPPED) & (torch.rand(ids.shape) < UNKNOWN)
        return ids.masked_fill(is_word & dropped, SPECIAL.index("<unk>")), same


def embed_images(model: CLIPModel, features: torch.Tensor) -> torch.Tensor:
    """Vectors of length 1 of class tokens."""
    return functional.normalize(model.visual_projection(model.vision_model.post_layernorm(features)), dim=-1)


def embed_texts(model: CLIPModel, ids: torch.Tensor) -> torch.Tensor:
    mask = (ids != model.config.text_config.pad_token_id).long()
    return functional.normalize(model.get_text_features(ids, attention_mask=mask).pooler_output, dim=-1)


def contrastive_loss(
    model: CLIPModel, features: torch.Tensor, ids: torch.Tensor, same: torch.Tensor
) -> torch.Tensor:
    """Both ways, for each view, [scene, view, width], and for the mean; all scenes with a text are right."""
    by_view = (
        model.logit_scale.exp() * embed_images(model, features).transpose(0, 1) @ embed_texts(model, ids).T
    )
    logits = torch.cat([by_view, by_view.mean(0, keepdim=True)])
    target = same.float() / same.sum(1)
    return -0.5 * sum(target * logits.log_softmax(dim) for dim in (1, 2)).sum() / (len(logits) * len(ids))


def train(args: argparse.Namespace) -> None:
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    rng = random.Random(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    tokenizer = build_tokenizer()
    model = build_clip(tokenizer)
    shards = args.scenes // SHARD
    features = torch.from_numpy(
        np.concatenate([encode_scenes(model, args.out, args.scene_seed, number) for number in range(shards)])
    ).float()
    scenes = [training_scene(args.scene_seed, index) for index in range(len(features))]
    count = len(features) - HELD_OUT * SHARD
    texts = Sentences(tokenizer, scenes)
    class_tokens = features[:, :, TOKENS.index("class token")]
    noise = NOISE * class_tokens[:count].std(0)
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=args.lr, weight_decay=0.1, betas=(0.9, 0.98))
    checkpoint = args.out / "checkpoint.pt"
    own = Own(model)
    first = load_checkpoint(checkpoint, rng, model=own, optimizer=optimizer)
    start = time.monotonic()
    with (args.out / "text_encoder.jsonl").open("a" if first else "w") as log:
        for step in range(first, args.steps):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(args.lr, step, args.steps)
            (kind,) = rng.choices(list(KINDS), list(KINDS.values()))
            indices = rng.sample(range(count), args.batch)
            seen = class_tokens[indices]
            loss = contrastive_loss(model, seen + noise * torch.randn_like(seen), *texts.batch(kind, indices))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            if step % 50 == 49:
                line = {"step": step + 1, "seconds": round(time.monotonic() - start)}
                line |= held_out_losses(model, class_tokens, texts, range(count, len(features)))
                print(json.dumps(line), file=log, flush=True)
                save_checkpoint(checkpoint, step + 1, rng, model=own, optimizer=optimizer)
    save(model, tokenizer, args.out)
    weights = (args.out / "model.safetensors").read_bytes()
    found: dict[str, Any] = {
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        "scenes": count,
        "held_out_scenes": len(scenes) - count,
        "chance": chance(scenes[count:]),
    }
    found |= {
        "probes": probe(features, scenes, count),
        "texts": classify(model, texts, class_tokens, scenes, count),
    }
    text = json.dumps(found, indent=2)
    print(text)
    (args.out / "exam.json").write_text(text + "\n", encoding="utf-8")


class Own:
    """The weights that are not the tower's, as checkpoints take a module."""

    def __init__(self, model: CLIPModel) -> None:
        self._model = model

    def state_dict(self) -> dict[str, torch.Tensor]:
        return {name: value for name, value in self._model.state_dict().items() if name.startswith(PARTS)}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        self._model.load_state_dict(state, strict=False)


@torch.inference_mode()
def held_out_losses(
    model: CLIPModel, class_tokens: torch.Tensor, texts: Sentences, held_out: range
) -> dict[str, float]:
    """The loss of each kind of sentence on a batch of scenes that are not trained on."""
    indices = held_out[:128]
    losses = {
        kind: contrastive_loss(model, class_tokens[indices.start : indices.stop], *texts.batch(kind, indices))
        for kind in KINDS
    }
    return {kind: round(loss.item(), 4) for kind, loss in losses.items()}


def truths(scenes: Sequence[Scene]) -> dict[str, np.ndarray]:
    """What the probes and the texts are asked for, as numbers of classes."""
    return {
        "setting": np.array([SETTINGS.index(scene.setting) for scene in scenes]),
        "occasion": np.array([OCCASIONS.index(scene.occasion) for scene in scenes]),
        "expression": np.array([EXPRESSIONS.index(scene.person.expression) for scene in scenes]),
    }


def chance(scenes: Sequence[Scene]) -> dict[str, float]:
    """The share of the most frequent class."""
    return {
        name: round(float(np.bincount(truth).max()) / len(truth), 3) for name, truth in truths(scenes).items()
    }


def probe(features: torch.Tensor, scenes: Sequence[Scene], count: int) -> dict[str, dict[str, float]]:
    """The accuracy of linear classifiers of what the tower makes of each view."""
    found: dict[str, dict[str, float]] = {}
    for view, marking in enumerate(VIEWS):
        for token, name in enumerate(TOKENS):
            values = functional.layer_norm(features[:, view, token], features.shape[-1:]).numpy()
            found[f"{marking.style}, {name}"] = {
                aspect: round(
                    float(
                        RidgeClassifier()
                        .fit(values[:count], truth[:count])
                        .score(values[count:], truth[count:])
                    ),
                    3,
                )
                for aspect, truth in truths(scenes).items()
            }
    return found


@torch.inference_mode()
def classify(
    model: CLIPModel, texts: Sentences, class_tokens: torch.Tensor, scenes: Sequence[Scene], count: int
) -> dict[str, float]:
    """How often the sentence that is nearest to a scene that is not trained on is the right one."""
    wordings: dict[str, list[str]] = {
        "setting": [f"The person stands {SETTING_PHRASES[name][0]}." for name in SETTINGS],
        "occasion": [f"{OCCASION_PHRASES[name][0]}." for name in OCCASIONS],
        "expression": [f"{EXPRESSION_PHRASES[name][0]}." for name in EXPRESSIONS],
    }
    images = embed_images(model, class_tokens[count:])
    return {
        aspect: round(
            float(
                (
                    (images @ embed_texts(model, texts.encode(wordings[aspect])).T).mean(1).argmax(-1).numpy()
                    == truth
                ).mean()
            ),
            3,
        )
        for aspect, truth in truths(scenes[count:]).items()
    }


def save(model: CLIPModel, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    """Saves everything but the tower, in float16, and the processor of the whole."""
    weights = {name: value.half().contiguous() for name, value in Own(model).state_dict().items()}
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    model.config.architectures = ["CLIPModel"]
    model.config.save_pretrained(out)
    images = CLIPImageProcessorPil(
        size={"shortest_edge": IMAGE_SIZE},
        crop_size={"height": IMAGE_SIZE, "width": IMAGE_SIZE},
        image_mean=[MEAN] * 3,
        image_std=[STD] * 3,
    )
    CLIPProcessor(image_processor=images, tokenizer=tokenizer).save_pretrained(out)
    settings = json.loads((out / "tokenizer_config.json").read_text())
    settings |= {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_input_names": ["input_ids", "attention_mask"],
    }
    (out / "tokenizer_config.json").write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--scenes", type=int, default=2816)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--scene-seed", type=int, default=19, help="used by neither the other trainings nor the dataset"
    )
    parser.add_argument("--threads", type=int, default=1)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
