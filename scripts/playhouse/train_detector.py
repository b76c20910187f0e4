"""Trains a tiny YOLOS to find the people of drawn scenes.

It draws its own scenes, because most of those in the shards have the red box, which would give one person
away. Every step sees new scenes, which follow from the seed and the step. A probe that is discarded
afterwards teaches the patches where the person is whom they show: detections, which read the patches, learn
sooner with it. A killed training goes on where its last checkpoint was. At the end it prints recall and
precision at an IoU of 0.5 on scenes it has not seen, at several thresholds of the score, for all detections
and for those that are left when a lower score loses against an overlapping higher one.

    python scripts/playhouse/train_detector.py --out runs/playhouse/detector --steps 6000
"""

import argparse
import json
import random
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from checkpoints import load_checkpoint, save_checkpoint
from PIL import Image
from torch import nn
from torch.nn import functional
from train_tower import learning_rate
from training_scenes import IMAGE_SIZE, MEAN, PATCH, STD, normalize, training_scene
from transformers import YolosConfig, YolosForObjectDetection, YolosImageProcessorPil

from mien.playhouse.draw import SIZE, draw_scene
from mien.types import Box

WIDTH = 96
NUM_TOKENS = 10  # detections per image; scenes have at most three people
GRID = IMAGE_SIZE // PATCH
EXAM_SEED = 880_001  # used by neither training nor the dataset
THRESHOLDS = (0.3, 0.5, 0.7, 0.9)
MAX_OVERLAP = 0.5  # two people of a scene overlap less

# The center of every patch as a fraction of the image, [patch, (x, y)].
_CENTERS = np.array(
    [((column + 0.5) / GRID, (row + 0.5) / GRID) for row in range(GRID) for column in range(GRID)]
)

Arrays = tuple[np.ndarray, list[np.ndarray]]


def build_detector() -> YolosForObjectDetection:
    """A YOLOS with 0.38 million weights, that is, 0.77 MB in float16."""
    config = YolosConfig(
        hidden_size=WIDTH,
        intermediate_size=144,
        num_hidden_layers=4,
        num_attention_heads=4,
        image_size=(IMAGE_SIZE, IMAGE_SIZE),
        patch_size=PATCH,
        num_detection_tokens=NUM_TOKENS,
        use_mid_position_embeddings=False,  # they would be a tenth of all weights
        class_cost=2,
        eos_coefficient=0.4,  # the default is for 100 detections
        initializer_range=0.08,  # the default is for a width of 768
        id2label={0: "person"},
        label2id={"person": 0},
    )
    model = YolosForObjectDetection(config)
    # transformers starts them at zero, where detections are all alike.
    embeddings = model.vit.embeddings
    for weight in (embeddings.position_embeddings, embeddings.detection_tokens, embeddings.cls_token):
        nn.init.normal_(weight, std=0.2)
    return model


def build_processor() -> YolosImageProcessorPil:
    return YolosImageProcessorPil(
        size={"height": IMAGE_SIZE, "width": IMAGE_SIZE}, image_mean=[MEAN] * 3, image_std=[STD] * 3
    )


def draw_batch(seed: int, indices: Sequence[int]) -> Arrays:
    """Pixels from 0 to 255, [scene, 3, height, width], and boxes per scene.

    Boxes are rows of (center x, center y, width, height) as fractions of the image.
    """
    pixels, boxes = [], []
    for index in indices:
        drawing = draw_scene(training_scene(seed, index))
        small = drawing.image.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BILINEAR)
        pixels.append(np.asarray(small).transpose(2, 0, 1))
        boxes.append(np.array([_as_fractions(box) for box in drawing.boxes], np.float32))
    return np.stack(pixels), boxes


def _as_fractions(box: Box) -> tuple[float, float, float, float]:
    x, y = (box.left + box.right) / 2, (box.top + box.bottom) / 2
    return x / SIZE, y / SIZE, box.width / SIZE, box.height / SIZE


def as_labels(boxes: Sequence[np.ndarray]) -> list[dict[str, torch.Tensor]]:
    """Targets as the loss of transformers takes them."""
    return [
        {"class_labels": torch.zeros(len(rows), dtype=torch.long), "boxes": torch.from_numpy(rows)}
        for rows in boxes
    ]


class PatchProbe(nn.Module):
    """Predicts from a patch whether it shows a person, and that person's box; discarded after training."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.linear = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 5)

    def forward(self, states: torch.Tensor, boxes: Sequence[np.ndarray]) -> torch.Tensor:
        """The loss, given what the last layer reads, [scene, token, WIDTH]."""
        predicted = self.linear(self.norm(states[:, 1 : GRID * GRID + 1]))
        targets = torch.from_numpy(np.stack([_boxes_of_patches(rows) for rows in boxes]))
        shows = targets[..., 2] > 0
        errors = (predicted[..., 1:].sigmoid() - targets)[shows].abs().sum(-1)
        return 5 * errors.mean() + functional.binary_cross_entropy_with_logits(
            predicted[..., 0], shows.float()
        )


def _boxes_of_patches(boxes: np.ndarray) -> np.ndarray:
    """[patch, 4]: the box of the nearest person whose body a patch can show; zeros if there is none."""
    far = np.abs(_CENTERS[:, None] - boxes[None, :, :2])
    is_near = (far[..., 0] < 0.3 * boxes[:, 2]) & (far[..., 1] < 0.5 * boxes[:, 3])
    nearest = np.where(is_near, far[..., 0], np.inf).argmin(1)
    return np.where(is_near.any(1)[:, None], boxes[nearest], 0).astype(np.float32)


class DrawnAhead:
    """Batches of scenes, drawn by another process while the model learns from the one before."""

    def __init__(self, pool: ProcessPoolExecutor, seed: int, size: int) -> None:
        self._pool, self._seed, self._size = pool, seed, size
        self._next: dict[int, Future[Arrays]] = {}

    def batch(self, step: int) -> Arrays:
        for ahead in (step, step + 1, step + 2):
            if ahead not in self._next:
                indices = range(ahead * self._size, (ahead + 1) * self._size)
                self._next[ahead] = self._pool.submit(draw_batch, self._seed, indices)
        return self._next.pop(step).result()


def count_hits(found: np.ndarray, truth: np.ndarray) -> int:
    """How many of the found boxes, by falling score, match a person of their own with an IoU of 0.5 or more.

    Boxes are rows of (left, top, right, bottom).
    """
    left_over, hits = list(truth), 0
    for box in found:
        overlaps = [_iou(box, person) for person in left_over]
        if overlaps and max(overlaps) >= 0.5:
            left_over.pop(int(np.argmax(overlaps)))
            hits += 1
    return hits


def _iou(first: np.ndarray, second: np.ndarray) -> float:
    sides = np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2])
    shared = float(sides.clip(0).prod())
    areas = float((first[2:] - first[:2]).prod() + (second[2:] - second[:2]).prod())
    return shared / (areas - shared)


def suppress_overlapping(boxes: np.ndarray) -> np.ndarray:
    """The boxes, by falling score, without those whose IoU with an earlier one is over `MAX_OVERLAP`."""
    left: list[np.ndarray] = []
    for box in boxes:
        if all(_iou(box, other) <= MAX_OVERLAP for other in left):
            left.append(box)
    return np.array(left)


def evaluate(folder: Path, count: int) -> dict[str, Any]:
    """Recall and precision of a saved detector at several thresholds of the score."""
    model = YolosForObjectDetection.from_pretrained(folder, dtype=torch.float32).eval()
    processor = YolosImageProcessorPil.from_pretrained(folder)
    hits: Counter[str] = Counter()
    found: Counter[str] = Counter()
    people = 0
    for start in range(0, count, 50):
        drawings = [draw_scene(training_scene(EXAM_SEED, index)) for index in range(start, start + 50)]
        inputs = processor([drawing.image for drawing in drawings], return_tensors="pt")
        with torch.inference_mode():
            outputs = model(pixel_values=inputs["pixel_values"])
        results = processor.post_process_object_detection(
            outputs, threshold=min(THRESHOLDS), target_sizes=[(SIZE, SIZE)] * len(drawings)
        )
        for drawing, result in zip(drawings, results, strict=True):
            truth = np.array([box.as_tuple() for box in drawing.boxes])
            people += len(truth)
            order = result["scores"].argsort(descending=True)
            scores, boxes = result["scores"][order].numpy(), result["boxes"][order].numpy()
            for threshold in THRESHOLDS:
                chosen = boxes[scores >= threshold]
                for name, some in (("all", chosen), ("suppressed", suppress_overlapping(chosen))):
                    found[f"{name}, score {threshold}"] += len(some)
                    hits[f"{name}, score {threshold}"] += count_hits(some, truth)
    return {"scenes": count, "people": people} | {
        name: {"recall": round(hits[name] / people, 4), "precision": round(hits[name] / max(1, total), 4)}
        for name, total in sorted(found.items())
    }


def train(args: argparse.Namespace) -> None:
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    model, probe, rng = build_detector(), PatchProbe(), random.Random(args.seed)
    weights = [*model.parameters(), *probe.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=args.lr, weight_decay=0.02, betas=(0.9, 0.98))
    args.out.mkdir(parents=True, exist_ok=True)
    checkpoint = args.out / "checkpoint.pt"
    first = load_checkpoint(checkpoint, rng, model=model, probe=probe, optimizer=optimizer)
    start = time.monotonic()
    with ProcessPoolExecutor(1) as pool, (args.out / "detector.jsonl").open("a" if first else "w") as log:
        scenes = DrawnAhead(pool, args.seed, args.batch)
        for step in range(first, args.steps):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(args.lr, step, args.steps)
            pixels, boxes = scenes.batch(step)
            output = model(
                normalize(torch.from_numpy(pixels)), labels=as_labels(boxes), output_hidden_states=True
            )
            of_patches = probe(output.hidden_states[-2], boxes)
            optimizer.zero_grad(set_to_none=True)
            (output.loss + of_patches).backward()
            nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            if step % 50 == 0 or step == args.steps - 1:
                line = {"step": step, "seconds": round(time.monotonic() - start)}
                line |= {"loss_of_patches": round(of_patches.item(), 4)}
                line |= {name: round(value.item(), 4) for name, value in output.loss_dict.items()}
                print(json.dumps(line), file=log, flush=True)
            if step % 200 == 199:
                save_checkpoint(checkpoint, step + 1, rng, model=model, probe=probe, optimizer=optimizer)
    save(model, args.out)


def save(model: YolosForObjectDetection, out: Path) -> None:
    """Saves in float16, at half the size; the accuracy is measured with the saved folder."""
    model.save_pretrained(
        out, state_dict={name: weight.half() for name, weight in model.state_dict().items()}
    )
    build_processor().save_pretrained(out)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=6_000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=13)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--scenes", type=int, default=1000, help="unseen scenes for the evaluation")
    args = parser.parse_args()
    train(args)
    text = json.dumps(evaluate(args.out, args.scenes), indent=2)
    print(text)
    (args.out / "exam.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
