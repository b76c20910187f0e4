"""Step 1 of the embedded VLM: trains a small ViT on what is visible. It sees no emotion words.

First a convolutional network, the teacher, learns from labels of every patch: whose it is, what that person
looks like, and what the scene shows. The ViT then learns the teacher's features along with the same labels.
From labels alone it learned the occasion, which many patches show, and no face in 1,000 steps. The teacher
and the probes are discarded. A killed training goes on where its last checkpoint was.

    python scripts/playhouse/train_tower.py --scenes runs/playhouse/scenes --out runs/playhouse/tower
"""

import argparse
import copy
import json
import math
import random
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from checkpoints import load_checkpoint, save_checkpoint
from teacher import Teacher
from torch import nn
from torch.nn import functional
from training_scenes import IMAGE_SIZE, PATCH, PERSON_CLASSES, SCENE_CLASSES, Batch, TrainingScenes
from transformers import CLIPVisionConfig, CLIPVisionModel

WIDTH = 192
HINT_LAYER = 4  # of 6, which learns what the teacher sees around a patch
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
_WEIGHTS = {"setting": 1.0, "occasion": 1.0, "light": 0.3, "weather": 0.3, "role": 0.5, "color": 0.7}
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
    return layer_features(tower, pixels)[-1]


def layer_features(tower: CLIPVisionModel, pixels: torch.Tensor) -> list[torch.Tensor]:
    """[b, patch, WIDTH] before the first layer and after each."""
    states = tower(pixel_values=pixels, output_hidden_states=True).hidden_states
    return [features[:, 1:] for features in states]


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


class Training:
    """The scenes, optimizer, log and checkpoint of one of the two trainings."""

    def __init__(
        self, args: argparse.Namespace, name: str, *, steps: int, lr: float, **modules: nn.Module
    ) -> None:
        self._rng, self._steps, self._lr = random.Random(args.seed), steps, lr
        self._name, self._out, self._batch, self._modules = name, args.out, args.batch, modules
        self.scenes = TrainingScenes(args.scenes)
        self.weights = [weight for module in modules.values() for weight in module.parameters()]
        self._optimizer = torch.optim.AdamW(self.weights, lr=lr, weight_decay=0.02, betas=(0.9, 0.98))

    def batches(self, *, reject_crowded: float) -> Iterator[tuple[float, Batch]]:
        """Share of the training that is done, and a batch, until all steps are done."""
        states = {**self._modules, "optimizer": self._optimizer}
        checkpoint = self._out / f"{self._name}.pt"
        first = load_checkpoint(checkpoint, self._rng, **states)
        for step in range(first, self._steps):
            for group in self._optimizer.param_groups:
                group["lr"] = learning_rate(self._lr, step, self._steps)
            done = step / self._steps
            reject = max(0.0, reject_crowded - 2 * done)
            yield done, self.scenes.batch(sample_indices(self._rng, self.scenes, self._batch, reject))
            if step % 200 == 199 or step == self._steps - 1:
                save_checkpoint(checkpoint, step + 1, self._rng, **states)

    def step(self, loss: torch.Tensor, max_norm: float) -> None:
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.weights, max_norm)
        self._optimizer.step()


class Log:
    """Means over some steps, as JSON Lines."""

    _EVERY = 50

    def __init__(self, path: Path) -> None:
        self._file, self._start, self._rows = path.open("a"), time.monotonic(), []

    def add(self, done: float, values: dict[str, torch.Tensor]) -> None:
        self._rows.append({name: value.item() for name, value in values.items()})
        if len(self._rows) == self._EVERY:
            means = {name: round(sum(row[name] for row in self._rows) / self._EVERY, 3) for name in values}
            line = {"done": round(done, 4), "seconds": round(time.monotonic() - self._start)} | means
            print(json.dumps(line), file=self._file, flush=True)
            self._rows = []


def train_teacher(args: argparse.Namespace) -> tuple[Teacher, Probes]:
    """A convolutional network with its probes, frozen."""
    teacher, probes = Teacher(WIDTH).to(memory_format=torch.channels_last), Probes()
    training = Training(args, "teacher", steps=args.teacher_steps, lr=2e-3, teacher=teacher, probes=probes)
    log = Log(args.out / "teacher.jsonl")
    for done, batch in training.batches(reject_crowded=0.8):
        loss, right = probes(teacher(batch.pixels), batch)
        training.step(loss, max_norm=5.0)
        log.add(done, {"loss": loss.detach()} | right)
    return teacher.eval().requires_grad_(False), probes.eval().requires_grad_(False)


def train(args: argparse.Namespace) -> None:
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    teacher, teacher_probes = train_teacher(args)
    tower, probes = build_tower(), copy.deepcopy(teacher_probes).requires_grad_(True)
    hint = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH))
    training = Training(args, "tower", steps=args.steps, lr=args.lr, tower=tower, probes=probes, hint=hint)
    mean, scale = local_statistics(teacher, training.scenes)
    log = Log(args.out / "tower.jsonl")
    for done, batch in training.batches(reject_crowded=0.3):
        with torch.no_grad():
            local, whole = teacher.features(batch.pixels)
            target = teacher_probes.norm(whole)
        layers = layer_features(tower, batch.pixels)
        missed_local = functional.mse_loss(hint(layers[HINT_LAYER]), (local - mean) / scale)
        missed = functional.mse_loss(probes.norm(layers[-1]), target)
        labels, right = probes(layers[-1], batch)
        # What is local first: what the whole scene shows is learned soon and hides it.
        later = min(1.0, max(0.0, done - 0.1) / 0.1)
        training.step(missed_local + later * (missed + 0.05 * labels), max_norm=1.0)
        losses = {"loss": labels, "missed": missed, "missed_local": missed_local}
        log.add(done, {name: value.detach() for name, value in losses.items()} | right)
    tower.save_pretrained(args.out)


def local_statistics(teacher: Teacher, scenes: TrainingScenes) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and scale of the teacher's local features over some scenes, [WIDTH] each."""
    with torch.no_grad():
        local = teacher.features(scenes.pixels(range(128)))[0].flatten(0, 1)
    return local.mean(0), local.std(0) + 1e-3


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scenes", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--teacher-steps", type=int, default=2500)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=2.5e-3)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
