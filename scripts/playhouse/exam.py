"""Examines the embedded VLM on scenes that nobody has seen, through the same engine that users run.

In: a saved LLaVA folder. Out: JSON with the share of scenes in which the place, the boxed person's clothes,
face and pose are described rightly; and, without the box on scenes with two or three people, how often the
right person is.

    python scripts/playhouse/exam.py --model src/mien/playhouse/weights/llava --scenes 1000
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
from mien.playhouse.text import clothes, read_description
from mien.recipe import DescribeOptions, RunOptions

SEED = 990_001  # far from every seed that training or the data set uses


@dataclass(frozen=True, slots=True)
class Answered:
    """A scene and what the model said of it."""

    scene: Scene
    text: str

    def right(self, aspect: str) -> bool:
        person = self.scene.person
        truth = {
            "place": self.scene.place,
            "expression": person.expression,
            "pose": person.pose,
            "clothes": clothes(person),
        }
        return read_description(self.text)[aspect] == truth[aspect]

    def emotions(self) -> tuple[int, int]:
        """How many of the emotions named are right by the rules of the play, and how many are named."""
        scores = score_emotions(self.scene.place, self.scene.person)
        named = [label for label in EMOTIC.labels if label in self.text]
        return sum(scores[label] > THRESHOLD - 0.5 for label in named), len(named)


def ask(engine: Engine, scenes: Sequence[Scene], *, boxed: bool, batch: int = 32) -> list[Answered]:
    question = get_prompt("paper" if boxed else "paper_no_box").render(EMOTIC)
    answered = []
    for start in range(0, len(scenes), batch):
        group = scenes[start : start + batch]
        requests = []
        for scene in group:
            staging = draw_scene(scene)
            box = staging.boxes[scene.subject] if boxed else None
            image = fit_to_square(
                mark_subject(staging.image, box, Marking()), engine.image_size or staging.image.width
            )
            requests.append(Request(subject_id="exam", images=(image,), prompt=question))
        for scene, reply in zip(group, engine.describe(requests), strict=True):
            if not isinstance(reply, Reply):
                raise reply
            answered.append(Answered(scene, reply.text))
    return answered


def examine(engine: Engine, count: int) -> dict[str, Any]:
    """The whole exam as a table of shares."""
    rng = random.Random(SEED)
    scenes = [sample_scene(rng) for _ in range(count)]
    answered = ask(engine, scenes, boxed=True)
    result: dict[str, Any] = {"scenes": count, "seed": SEED}
    for aspect in ("place", "clothes", "expression", "pose"):
        result[aspect] = sum(item.right(aspect) for item in answered) / count
    right, named = (sum(column) for column in zip(*(item.emotions() for item in answered), strict=True))
    result |= {"emotions_named": named / count, "emotions_right": right / named}
    crowded = [scene for scene in scenes if len(scene.people) > 1]
    result["crowded_scenes"] = len(crowded)
    result["crowded_clothes_with_box"] = sum(
        item.right("clothes") for item in answered if len(item.scene.people) > 1
    ) / len(crowded)
    bare = ask(engine, crowded, boxed=False)
    result["crowded_clothes_without_box"] = sum(item.right("clothes") for item in bare) / len(bare)
    result["crowded_guessing"] = sum(1 / len(scene.people) for scene in crowded) / len(crowded)
    result["examples"] = [item.text for item in answered[:5]]
    return result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True)
    parser.add_argument("--scenes", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="write the JSON there as well")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    engine = open_engine(DescribeOptions(model=args.model, max_new_tokens=120), RunOptions(batch_size=32))
    weights = hashlib.sha256((Path(args.model) / "model.safetensors").read_bytes()).hexdigest()
    text = json.dumps({"weights_sha256": weights} | examine(engine, args.scenes), indent=2)
    print(text)
    if args.out is not None:
        args.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
