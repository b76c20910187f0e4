"""Evaluates the embedded VLM on held-out scenes, through the same engine that users run.

Prints JSON with the share of scenes in which the place and the boxed person's clothes, expression and pose
are described correctly; and, for scenes with two or three people, how often the clothes are those of the
correct person, with and without the box.

    python scripts/playhouse/evaluate_model.py --model src/mien/playhouse/weights/llava --scenes 1000
"""

import argparse
import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mien.describe.engine import Engine, Reply, Request
from mien.describe.open import open_engine
from mien.describe.prompts import get_prompt
from mien.labels import EMOTIC
from mien.media.images import Marking, fit_to_square, mark_subject
from mien.playhouse.draw import draw_scene
from mien.playhouse.rules import THRESHOLD, score_emotions
from mien.playhouse.scene import Scene, sample_scene
from mien.playhouse.text import describe_clothes, parse_description
from mien.recipe import DescribeOptions, RunOptions

SEED = 990_001  # used by neither training nor the dataset


@dataclass(frozen=True, slots=True)
class Description:
    """A scene and the model's description of it."""

    scene: Scene
    text: str

    def is_right(self, aspect: str) -> bool:
        """Whether "place", "clothes", "expression" or "pose" is described correctly."""
        person = self.scene.person
        truth = {
            "place": self.scene.place,
            "expression": person.expression,
            "pose": person.pose,
            "clothes": describe_clothes(person),
        }
        return parse_description(self.text)[aspect] == truth[aspect]

    def emotions(self) -> tuple[int, int]:
        """How many emotions are correct by the rules of Playhouse, and how many are named."""
        scores = score_emotions(self.scene.place, self.scene.person)
        named = [label for label in EMOTIC.labels if label in self.text]
        return sum(scores[label] > THRESHOLD - 0.5 for label in named), len(named)


def describe(engine: Engine, scenes: Sequence[Scene], *, boxed: bool, batch: int = 32) -> list[Description]:
    prompt_text = get_prompt("paper" if boxed else "paper_no_box").render(EMOTIC)
    described = []
    for start in range(0, len(scenes), batch):
        group = scenes[start : start + batch]
        requests = []
        for scene in group:
            drawing = draw_scene(scene)
            box = drawing.boxes[scene.subject] if boxed else None
            image = fit_to_square(
                mark_subject(drawing.image, box, Marking()), engine.image_size or drawing.image.width
            )
            requests.append(Request(subject_id="exam", images=(image,), prompt=prompt_text))
        for scene, reply in zip(group, engine.describe(requests), strict=True):
            if not isinstance(reply, Reply):
                raise reply
            described.append(Description(scene, reply.text))
    return described


def evaluate(engine: Engine, count: int) -> dict[str, Any]:
    """All results as a table of shares."""
    rng = random.Random(SEED)
    scenes = [sample_scene(rng) for _ in range(count)]
    described = describe(engine, scenes, boxed=True)
    result: dict[str, Any] = {"scenes": count, "seed": SEED}
    for aspect in ("place", "clothes", "expression", "pose"):
        result[aspect] = sum(item.is_right(aspect) for item in described) / count
    right, named = (sum(column) for column in zip(*(item.emotions() for item in described), strict=True))
    result |= {"emotions_named": named / count, "emotions_right": right / named}
    crowded = [scene for scene in scenes if len(scene.people) > 1]
    result["crowded_scenes"] = len(crowded)
    result["crowded_clothes_with_box"] = sum(
        item.is_right("clothes") for item in described if len(item.scene.people) > 1
    ) / len(crowded)
    bare = describe(engine, crowded, boxed=False)
    result["crowded_clothes_without_box"] = sum(item.is_right("clothes") for item in bare) / len(bare)
    result["crowded_guessing"] = sum(1 / len(scene.people) for scene in crowded) / len(crowded)
    result["examples"] = [item.text for item in described[:5]]
    return result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True)
    parser.add_argument("--scenes", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="also write the JSON to this file")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    engine = open_engine(DescribeOptions(model=args.model, max_new_tokens=120), RunOptions(batch_size=32))
    weights = hashlib.sha256((Path(args.model) / "model.safetensors").read_bytes()).hexdigest()
    text = json.dumps({"weights_sha256": weights} | evaluate(engine, args.scenes), indent=2)
    print(text)
    if args.out is not None:
        args.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
