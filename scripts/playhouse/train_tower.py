"""Step 1 of the embedded VLM: trains the vision tower, a CLIP-style ViT, on what Playhouse scenes show.

It sees no emotion words. From every patch it predicts what the patch shows (whose it is, that person's
expression, pose, clothes and company, the place); these labels come from the drawing. Saves a Hugging Face
`CLIPVisionModel` folder.

    python scripts/playhouse/train_tower.py --out runs/playhouse/tower --steps 4000
"""

import argparse
import json
import math
import random
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional
from training_scenes import IMAGE_SIZE, PATCH, PERSON_CLASSES, Batch, sample_batch
from transformers import CLIPVisionConfig, CLIPVisionModel

from mien.playhouse.scene import PLACES

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


class Probes(nn.Module):
    """One linear classifier per label, discarded after training."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.owner = nn.Linear(WIDTH, 3)
        self.place = nn.Linear(WIDTH, len(PLACES))
        self.person = nn.ModuleDict({name: nn.Linear(WIDTH, count) for name, count in PERSON_CLASSES.items()})

    def forward(self, features: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, dict[str, float]]:
        """The loss, and the accuracy over patches for every label."""
        features = self.norm(features)
        place = batch.place[:, None].expand(-1, features.shape[1])
        pairs = {"owner": (self.owner(features), batch.owner), "place": (self.place(features), place)}
        pairs |= {name: (self.person[name](features), batch.classes[name]) for name in PERSON_CLASSES}
        # An expression is visible on the head, and a pose on the arms, before attention carries it to the
        # rest of the body. With an additional loss on these patches alone, they are learned several times
        # sooner. The patches of the person in the box count once more.
        spots = (("expression", batch.heads), ("strong", batch.heads), ("pose", batch.arms))
        pairs |= {
            f"{name}_spot": (pairs[name][0], pairs[name][1].where(where, UNKNOWN)) for name, where in spots
        }
        for name in ("expression", "pose"):
            pairs[f"{name}_boxed"] = (pairs[name][0], pairs[name][1].where(batch.owner == 2, UNKNOWN))
        loss, right = torch.zeros(()), {}
        for name, (logits, truth) in pairs.items():
            losses = functional.cross_entropy(
                logits.flatten(0, 1).float(), truth.flatten(), ignore_index=UNKNOWN
            )
            loss = loss + _WEIGHTS.get(name, 1.0) * losses
            right[name] = ((logits.argmax(-1) == truth).sum() / (truth != UNKNOWN).sum()).item()
        return loss, right


_WEIGHTS = {"place": 0.3, "strong": 0.5, "role": 0.5, "color": 0.7, "garment": 0.7}


def patch_features(tower: CLIPVisionModel, pixels: torch.Tensor) -> torch.Tensor:
    """[b, patch, WIDTH]: the last layer without the class token, which LLaVA passes to its language model."""
    return tower(pixel_values=pixels, output_hidden_states=True).hidden_states[-1][:, 1:]


def train(args: argparse.Namespace) -> None:
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    rng = random.Random(args.seed)
    tower, probes = build_tower(), Probes()
    weights = [*tower.parameters(), *probes.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=args.lr, weight_decay=0.02, betas=(0.9, 0.98))
    args.out.mkdir(parents=True, exist_ok=True)
    log, start = (args.out / "log.jsonl").open("w"), time.monotonic()
    for step in range(args.steps):
        progress = step / args.steps
        rate = args.lr * min(1, step / 150) * (0.5 * (1 + math.cos(math.pi * progress)) * 0.98 + 0.02)
        for group in optimizer.param_groups:
            group["lr"] = rate
        batch = sample_batch(rng, args.batch, reject_crowded=max(0.0, 1.0 - 4 * progress), boxed=0.9)
        with torch.autocast("cpu", torch.bfloat16):
            features = patch_features(tower, batch.pixels)
            loss, right = probes(features, batch)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        if step % 50 == 0 or step == args.steps - 1:
            line = {"step": step, "seconds": round(time.monotonic() - start), "loss": round(loss.item(), 4)}
            print(
                json.dumps(line | {name: round(value, 3) for name, value in right.items()}),
                file=log,
                flush=True,
            )
        if step % 500 == 499:
            tower.save_pretrained(args.out)
    tower.save_pretrained(args.out)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=1.2e-3)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
