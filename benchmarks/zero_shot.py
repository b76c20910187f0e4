"""Scores of 26 labels from one pass over the image, compared with 26 separate passes.

    python benchmarks/zero_shot.py [--rounds 5] [--people 4]

Both ask the same model the same questions in one process, on one thread, and take turns. The models are the
embedded one, and one of random weights with as many image tokens as LLaVA-1.5 (576) and a smaller width.
Prints JSON: the CPU seconds of all rounds, the ratio of their sums, and the largest difference of any
probability.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path
from typing import Any

import torch
import transformers as _transformers

from mien.data.playhouse import Playhouse
from mien.describe.local.library import transformers_library
from mien.describe.local.model import LoadOptions, LocalModel
from mien.describe.local.processor import square_image_size
from mien.describe.local.shared_prefix import PrefixScorer
from mien.labels import EMOTIC
from mien.media.images import Marking
from mien.media.views import prepare_images
from mien.predict.zero_shot.labels import open_labels
from mien.predict.zero_shot.question import QUESTION, fill_question
from mien.recipe import DataOptions
from mien.types import Subject
from mien.weights.model_folder import ModelFolder, find_model

transformers: Any = _transformers  # its annotations are wrong


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--people", type=int, default=4, help="people per round, of the embedded model")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        scenes = Playhouse(DataOptions(), Path(name) / "playhouse")
        people = [sample.subject for sample in islice(scenes.samples("test"), arguments.people)]
        models = {
            "embedded": find_model("playhouse"),
            "576 image tokens": build_larger(Path(name) / "larger"),
        }
        counts = {"embedded": arguments.people, "576 image tokens": 1}  # it takes 20 s a person
        results = {
            title: compare(folder, people[: counts[title]], arguments.rounds)
            for title, folder in models.items()
        }
    report = {
        "date": datetime.now(UTC).date().isoformat(),
        "hardware": f"{platform.machine()}, {os.cpu_count()} cores, one used",
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "labels": len(EMOTIC),
        "people": counts,
        "models": results,
    }
    print(json.dumps(report, indent=2))


def compare(folder: ModelFolder, people: list[Subject], rounds: int) -> dict[str, Any]:
    """The CPU seconds of each round, and how far probabilities differ."""
    model = LocalModel.load(folder, LoadOptions(dtype="float32", device="cpu"))
    scorers = {kind: PrefixScorer(model, shares_prefix=kind == "shared") for kind in ("separate", "shared")}
    labels = open_labels(EMOTIC.name)
    questions = [fill_question(QUESTION, label, labels) for label in EMOTIC.labels]
    size = square_image_size(folder.path)
    images = [prepare_images(person, marking=Marking(), size=size) for person in people]
    seconds: dict[str, list[float]] = {kind: [] for kind in scorers}
    found: dict[str, list[list[float]]] = {}
    for number in range(rounds + 1):  # the first warms up
        for kind in list(scorers)[:: 1 if number % 2 == 0 else -1]:
            began = time.process_time()
            found[kind] = [scorers[kind].yes_probabilities([one], [questions])[0] for one in images]
            seconds[kind].append(round(time.process_time() - began, 3))
    pairs = zip(*(chain.from_iterable(found[kind]) for kind in scorers), strict=True)
    timed = {kind: values[1:] for kind, values in seconds.items()}
    return {
        "parameters": sum(parameter.numel() for parameter in model.module.parameters()),
        "seconds": timed,
        "speedup": round(sum(timed["separate"]) / sum(timed["shared"]), 1),
        "largest_difference": max(abs(one - other) for one, other in pairs),
    }


def build_larger(folder: Path) -> ModelFolder:
    """The embedded model with LLaVA-1.5's images of 336 pixels in patches of 14, and random weights."""
    embedded = find_model("playhouse").path
    config = transformers.AutoConfig.from_pretrained(embedded)
    config.vision_config.image_size, config.vision_config.patch_size = 336, 14
    config.vision_config.hidden_size, config.vision_config.intermediate_size = 384, 1536
    config.text_config.hidden_size, config.text_config.intermediate_size = 512, 1376
    config.text_config.num_attention_heads = config.text_config.num_key_value_heads = 16
    config.text_config.num_hidden_layers = 8
    config.image_seq_length = (336 // 14) ** 2
    torch.manual_seed(0)
    transformers.LlavaForConditionalGeneration(config).save_pretrained(folder)
    processor = transformers_library().AutoProcessor.from_pretrained(embedded, backend="pil")
    processor.image_processor.size = {"shortest_edge": 336}
    processor.image_processor.crop_size = {"height": 336, "width": 336}
    processor.patch_size = 14
    processor.save_pretrained(folder)
    return find_model(str(folder))


if __name__ == "__main__":
    main()
