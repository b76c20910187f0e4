"""Step 1 of the embedded VLM: trains a small ViT on what is visible. It sees no emotion words.

Probes read from every patch whose it is, what that person looks like, and what the scene shows; they are
discarded afterwards. A killed training goes on where its last checkpoint was.

    python scripts/playhouse/train_tower.py --scenes runs/playhouse/scenes --out runs/playhouse/tower
"""

import argparse
import json
import math
import random
import time
from pathlib import Path

import torch
from checkpoints import load_checkpoint, save_checkpoint
from torch import nn
from torch.nn import functional
from training_scenes import IMAGE_SIZE, PATCH, PERSON_CLASSES, SCENE_CLASSES, Batch, TrainingScenes
from transformers import CLIPVisionConfig, CLIPVisionModel

WIDTH = 192
UNKNOWN = -1  # a patch without this label


def build_tower() -> CLIPVisionModel:
    """A ViT with about 2 million weights."""
    config = CLIPVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=512,
        num_hidden_layers=6,
        num_attention_heads=6,
        image_size=IMAGE_SIZE,
        patch_size=PATCH,
        hidden_act="gelu",
    )
    config._attn_implementation = "eager"  # 145 tokens: backward is a third faster than sdpa's on a CPU
    return CLIPVisionModel(config)


# An expression is visible on the head, and a pose on the arms, before attention carries it to the rest of the
# body. With an additional loss on these patches alone, they are learned several times sooner.
_ON_HEADS = ("expression", "strength", "gaze", "turn", "tilt", "tears", "sweat", "blush")
_ON_ARMS = ("pose", "item")
_BOXED = ("expression", "pose", "item", "gaze")  # the patches of the person in the box count once more
_WEIGHTS = {"setting": 0.3, "occasion": 0.3, "light": 0.1, "weather": 0.1, "role": 0.5, "color": 0.7}
_WEIGHTS |= {"garment": 0.7, "strength": 0.5, "closeness": 0.2, "age": 0.3, "turn": 0.5, "tilt": 0.5}
_WEIGHTS |= {"tears": 0.4, "sweat": 0.4, "blush": 0.4, "gaze": 0.7}


class Probes(nn.Module):
    """One linear classifier per label, discarded after training."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.owner = nn.Linear(WIDTH, 3)
        self.scene = nn.ModuleDict({name: nn.Linear(WIDTH, count) for name, count in SCENE_CLASSES.items()})
        self.person = nn.ModuleDict({name: nn.Linear(WIDTH, count) for name, count in PERSON_CLASSES.items()})

    def forward(self, features: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The loss, and the accuracy over patches for every label."""
        features = self.norm(features)
        pairs = {"owner": (self.owner(features), batch.owner)}
        for name, classes in batch.scene_classes.items():
            pairs[name] = (self.scene[name](features), classes[:, None].expand(-1, features.shape[1]))
        for name in PERSON_CLASSES:
            pairs[name] = (self.person[name](features), batch.classes[name])
        for names, where in ((_ON_HEADS, batch.heads), (_ON_ARMS, batch.arms)):
            for name in names:
                pairs[f"{name}_spot"] = (pairs[name][0], pairs[name][1].where(where, UNKNOWN))
        for name in _BOXED:
            pairs[f"{name}_boxed"] = (pairs[name][0], pairs[name][1].where(batch.owner == 2, UNKNOWN))
        loss, right = torch.zeros(()), {}
        for name, (logits, truth) in pairs.items():
            losses = functional.cross_entropy(
                logits.flatten(0, 1).float(), truth.flatten(), ignore_index=UNKNOWN
            )
            base = name.removesuffix("_spot").removesuffix("_boxed")
            loss = loss + _WEIGHTS.get(base, 1.0) * losses
            right[name] = ((logits.argmax(-1) == truth).sum() / (truth != UNKNOWN).sum()).detach()
        return loss, right


def patch_features(tower: CLIPVisionModel, pixels: torch.Tensor) -> torch.Tensor:
    """[b, patch, WIDTH]: the last layer without the class token, which LLaVA passes to its language model."""
    return tower(pixel_values=pixels, output_hidden_states=True).hidden_states[-1][:, 1:]


def learning_rate(peak: float, step: int, steps: int) -> float:
    """A short warm-up, then half a cosine to a fiftieth."""
    return peak * min(1, step / 150) * (0.5 * (1 + math.cos(math.pi * step / steps)) * 0.98 + 0.02)


def sample_indices(rng: random.Random, scenes: TrainingScenes, size: int, reject_crowded: float) -> list[int]:
    """Random scenes; this share of those with several people is rejected."""
    indices: list[int] = []
    while len(indices) < size:
        index = rng.randrange(len(scenes))
        if not scenes.crowded[index] or rng.random() >= reject_crowded:
            indices.append(index)
    return indices


def train(args: argparse.Namespace) -> None:
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    rng = random.Random(args.seed)
    scenes = TrainingScenes(args.scenes)
    tower, probes = build_tower(), Probes()
    weights = [*tower.parameters(), *probes.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=args.lr, weight_decay=0.02, betas=(0.9, 0.98))
    args.out.mkdir(parents=True, exist_ok=True)
    checkpoint = args.out / "checkpoint.pt"
    first = load_checkpoint(checkpoint, rng, tower=tower, probes=probes, optimizer=optimizer)
    start = time.monotonic()
    with (args.out / "log.jsonl").open("a" if first else "w") as log:
        for step in range(first, args.steps):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(args.lr, step, args.steps)
            reject = max(0.0, 1.0 - 4 * step / args.steps)
            batch = scenes.batch(sample_indices(rng, scenes, args.batch, reject))
            with torch.autocast("cpu", torch.bfloat16, enabled=args.bfloat16):
                features = patch_features(tower, batch.pixels)
                loss, right = probes(features, batch)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            if step % 50 == 0 or step == args.steps - 1:
                line = {
                    "step": step,
                    "seconds": round(time.monotonic() - start),
                    "loss": round(loss.item(), 4),
                }
                line |= {name: round(value.item(), 3) for name, value in right.items()}
                print(json.dumps(line), file=log, flush=True)
            if step % 200 == 199:
                save_checkpoint(checkpoint, step + 1, rng, tower=tower, probes=probes, optimizer=optimizer)
    tower.save_pretrained(args.out)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scenes", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=1.2e-3)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bfloat16", action=argparse.BooleanOptionalAction, default=False)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
