"""Act 1 of the embedded VLM: trains the vision tower, a CLIP-style ViT, on what is visible in Playhouse
scenes.

No emotion word is seen here. Every patch is asked what it shows (whose it is, that person's face, pose,
clothes, company, the place); the answers come for free from the drawing. Saves a Hugging Face
`CLIPVisionModel` folder.

    python scripts/playhouse/tower.py --out runs/playhouse/tower --steps 4000
"""

import argparse
import json
import math
import random
import time
from pathlib import Path

import torch
from stage import IMAGE_SIZE, PATCH, PERSON_QUESTIONS, Batch, rehearse
from torch import nn
from torch.nn import functional
from transformers import CLIPVisionConfig, CLIPVisionModel

from mien.playhouse.scene import PLACES

WIDTH = 192
UNKNOWN = -1  # in place of an answer: nothing to ask on this patch


def build_tower() -> CLIPVisionModel:
    """About 2 million weights."""
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


class Questions(nn.Module):
    """One linear reader for each question, thrown away after training."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.owner = nn.Linear(WIDTH, 3)
        self.place = nn.Linear(WIDTH, len(PLACES))
        self.person = nn.ModuleDict(
            {name: nn.Linear(WIDTH, count) for name, count in PERSON_QUESTIONS.items()}
        )

    def forward(self, features: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, dict[str, float]]:
        """The loss, and for every question the share of patches with the right answer."""
        features = self.norm(features)
        place = batch.place[:, None].expand(-1, features.shape[1])
        asked = {"owner": (self.owner(features), batch.owner), "place": (self.place(features), place)}
        asked |= {name: (self.person[name](features), batch.answers[name]) for name in PERSON_QUESTIONS}
        # A face is read on the head and a pose on the arms before the rest of the body can know of them:
        # asked for there alone as well, they are learned several times sooner. The boxed person's patches
        # count once more.
        spots = (("expression", batch.heads), ("strong", batch.heads), ("pose", batch.arms))
        asked |= {
            f"{name}_spot": (asked[name][0], asked[name][1].where(where, UNKNOWN)) for name, where in spots
        }
        for name in ("expression", "pose"):
            asked[f"{name}_boxed"] = (asked[name][0], asked[name][1].where(batch.owner == 2, UNKNOWN))
        loss, right = torch.zeros(()), {}
        for name, (logits, truth) in asked.items():
            losses = functional.cross_entropy(
                logits.flatten(0, 1).float(), truth.flatten(), ignore_index=UNKNOWN
            )
            loss = loss + _WEIGHTS.get(name, 1.0) * losses
            right[name] = ((logits.argmax(-1) == truth).sum() / (truth != UNKNOWN).sum()).item()
        return loss, right


_WEIGHTS = {"place": 0.3, "strong": 0.5, "role": 0.5, "colour": 0.7, "garment": 0.7}


def patch_features(tower: CLIPVisionModel, pixels: torch.Tensor) -> torch.Tensor:
    """[b, patch, WIDTH]: the last layer without the class token, which is what LLaVA hands to its language
    model."""
    return tower(pixel_values=pixels, output_hidden_states=True).hidden_states[-1][:, 1:]


def train(args: argparse.Namespace) -> None:
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    rng = random.Random(args.seed)
    tower, questions = build_tower(), Questions()
    weights = [*tower.parameters(), *questions.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=args.lr, weight_decay=0.02, betas=(0.9, 0.98))
    args.out.mkdir(parents=True, exist_ok=True)
    log, start = (args.out / "log.jsonl").open("w"), time.monotonic()
    for step in range(args.steps):
        progress = step / args.steps
        rate = args.lr * min(1, step / 150) * (0.5 * (1 + math.cos(math.pi * progress)) * 0.98 + 0.02)
        for group in optimizer.param_groups:
            group["lr"] = rate
        batch = rehearse(rng, args.batch, single=max(0.0, 1.0 - 4 * progress), boxed=0.9)
        with torch.autocast("cpu", torch.bfloat16):
            features = patch_features(tower, batch.pixels)
            loss, right = questions(features, batch)
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
