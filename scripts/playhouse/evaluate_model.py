"""Evaluates the embedded VLM on held-out scenes, through the same engine that users run.

Prints JSON with the share of scenes in which the setting, the occasion and the boxed person's clothes,
expression, pose and item are described as in an ideal description; for scenes with two or three people, how
often the clothes are those of the correct person, with and without the box; and how often it says yes about
labels that apply, and about others.

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
from mien.playhouse.rules import THRESHOLD, annotate, observe, score_emotions
from mien.playhouse.salience import mention
from mien.playhouse.scene import Scene, sample_scene
from mien.playhouse.text import ask_yes_no, describe_clothes, describe_emotions, parse_description
from mien.recipe import DescribeOptions, RunOptions

SEED = 990_001  # used by neither training nor the dataset


@dataclass(frozen=True, slots=True)
class Description:
    """A scene and the model's description of it."""

    scene: Scene
    text: str

    def is_right(self, aspect: str) -> bool:
        """Whether an aspect is described as in an ideal description."""
        person, said = self.scene.person, mention(self.scene, observe(self.scene))
        truth = {
            "setting": self.scene.setting,
            "occasion": self.scene.occasion,
            "expression": said.observation.expression,
            "clothes": describe_clothes(person),
            "pose": person.pose if f"pose {person.pose}" in said.details else None,
            "item": person.item if "item" in said.details else None,
        }
        return parse_description(self.text)[aspect] == truth[aspect]

    def emotions(self, rng: random.Random) -> tuple[int, int, int]:
        """How many emotions it names; of these, the ideal description, and one of three annotators."""
        named = {label for label in EMOTIC.labels if label in _conclusion(self.text)}
        ideal = {label for label in EMOTIC.labels if label in _conclusion(describe_emotions(self.scene))}
        ticked = {label for annotation in annotate(self.scene, rng) for label in annotation.labels}
        return len(named), len(named & ideal), len(named & ticked)


def _conclusion(text: str) -> str:
    """Where a description names emotions."""
    return text[max(text.find("Given all this"), text.find("In this context"), 0) :]


def ask(
    engine: Engine, scenes: Sequence[Scene], prompts: Sequence[str], *, boxed: bool, batch: int = 32
) -> list[str]:
    """The answers to one prompt per scene."""
    answers = []
    for start in range(0, len(scenes), batch):
        requests = []
        for scene, prompt in zip(scenes[start : start + batch], prompts[start : start + batch], strict=True):
            drawing = draw_scene(scene)
            box = drawing.boxes[scene.subject] if boxed else None
            image = fit_to_square(
                mark_subject(drawing.image, box, Marking()), engine.image_size or drawing.image.width
            )
            requests.append(Request(subject_id="exam", images=(image,), prompt=prompt))
        for reply in engine.describe(requests):
            if not isinstance(reply, Reply):
                raise reply
            answers.append(reply.text)
    return answers


def describe(engine: Engine, scenes: Sequence[Scene], *, boxed: bool) -> list[Description]:
    prompt = get_prompt("paper" if boxed else "paper_no_box").render(EMOTIC)
    texts = ask(engine, scenes, [prompt] * len(scenes), boxed=boxed)
    return [Description(scene, text) for scene, text in zip(scenes, texts, strict=True)]


def ask_about_labels(engine: Engine, scenes: Sequence[Scene], rng: random.Random) -> dict[str, float]:
    """Answers to yes/no questions about one label per scene; half of the labels apply by the rules."""
    labels, applies = [], []
    for scene in scenes:
        scores = score_emotions(observe(scene))
        is_high = rng.random() < 0.5
        fitting = [label for label, score in scores.items() if (score > THRESHOLD) == is_high]
        labels.append(rng.choice(fitting or list(scores)))
        applies.append(scores[labels[-1]] > THRESHOLD)
    answers = ask(engine, scenes, [ask_yes_no(label) for label in labels], boxed=True)
    said = [answer.strip().lower().startswith("yes") for answer in answers]
    hits = [yes for yes, truth in zip(said, applies, strict=True) if truth]
    false_alarms = [yes for yes, truth in zip(said, applies, strict=True) if not truth]
    return {
        "yes_if_it_applies": sum(hits) / len(hits),
        "yes_if_not": sum(false_alarms) / len(false_alarms),
    }


def evaluate(engine: Engine, count: int) -> dict[str, Any]:
    """All results as a table of shares."""
    rng = random.Random(SEED)
    scenes = [sample_scene(rng) for _ in range(count)]
    described = describe(engine, scenes, boxed=True)
    result: dict[str, Any] = {"scenes": count, "seed": SEED}
    for aspect in ("setting", "occasion", "clothes", "expression", "pose", "item"):
        result[aspect] = sum(item.is_right(aspect) for item in described) / count
    counts = [item.emotions(rng) for item in described]
    named, ideal, ticked = (sum(column) for column in zip(*counts, strict=True))
    result |= {"emotions_named": named / count, "emotions_ideal": ideal / named}
    result |= {"emotions_ticked": ticked / named} | ask_about_labels(engine, scenes, rng)
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
    engine = open_engine(DescribeOptions(model=args.model, max_new_tokens=160), RunOptions(batch_size=32))
    weights = hashlib.sha256((Path(args.model) / "model.safetensors").read_bytes()).hexdigest()
    text = json.dumps({"weights_sha256": weights} | evaluate(engine, args.scenes), indent=2)
    print(text)
    if args.out is not None:
        args.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
