"""What mien adds to its models per image, and a folder of images in batches and one by one.

    PYTHONPATH=src:. python benchmarks/predict_speed.py [--only overhead|folder] [--rounds 5]
        [--images 64] [--folder 1000] [--sample 32]

The models are a detector, the embedded VLM and encoder, and a classifier; see `small_predictor.py`. CPU
seconds on one thread count, because other programs may use the machine. What is compared takes turns.

Overhead: the bare loop is written with Pillow, torch and transformers alone. It opens each image once,
finds people, draws their boxes, and gives them to the models in full batches of 32. mien reads the same files
with the same weights in the same process, and gives the same scores. Time within the models (a forward pass
of the detector, `generate`, encoder, classifier) is also measured by itself, in the main thread, because mien
generates with another cache than transformers. "ratio" is that of the medians of whole times. "overhead"
leaves the cache out: it is what mien's time outside of the models adds to that of the bare loop, as a share
of mien's models and the bare rest.

Folder: the folder is predicted once, in batches of 32 people. In each round, a sample of it is predicted in
batches and one image at a time in one process, and `mien predict` is run on one image in a process of its
own, once: a process for each of 1,000 images would take more than an hour. The last figures are of labels
without training, by likelihood: the 26 labels of a person are a batch also where people come one at a time.
"floor" is what of that a processor must do: the multiplications of the model for a person, at the rate of a
product of large matrices, in CPU milliseconds.

Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial, wraps
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
import transformers as _transformers
from PIL import Image, ImageDraw
from small_predictor import MIEN, build_detector, cpu_seconds, draw_images, hardware, rounded, train_run
from torch.utils.flop_counter import FlopCounterMode
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.rt_detr.image_processing_pil_rt_detr import RTDetrImageProcessorPil

import mien
from mien.describe.local.engine import LocalEngine
from mien.describe.local.shared_prefix import PrefixScorer
from mien.describe.prompts import get_prompt
from mien.features.vision_encoder import VisionEncoder
from mien.labels import EMOTIC
from mien.model.classifier import Classifier
from mien.playhouse.embedded_models import embedded_model_folder
from mien.predict.base import SubjectPredictor
from mien.predict.zero_shot.labels import open_labels
from mien.predict.zero_shot.question import QUESTION, fill_question
from mien.prefetch import batched

transformers: Any = _transformers  # its annotations are wrong

_DETECTOR_BATCH, _BATCH, _SIDE, _MAX_NEW_TOKENS = 8, 32, 144, 120


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=("overhead", "folder"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=64, help="that both loops read")
    parser.add_argument("--folder", type=int, default=1000, help="images in the folder")
    parser.add_argument("--sample", type=int, default=32, help="images of it that are read one by one")
    parser.add_argument(
        "--zero-shot", type=int, default=32, help="of these, that are scored without training"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    report: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "hardware": hardware(),
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        detector = build_detector(folder / "detector")
        run = train_run(folder, max_new_tokens=_MAX_NEW_TOKENS)
        predictor = mien.Predictor.from_pretrained(run, device="cpu", detector=detector)
        if arguments.only != "overhead":
            files = draw_images(folder / "images", arguments.folder)
            report["folder"] = measure_folder(predictor, files, folder, arguments)
        if arguments.only != "folder":
            files = draw_images(folder / "few", arguments.images)
            report["overhead"] = measure_overhead(predictor, detector, files, arguments.rounds)
    print(json.dumps(report, indent=2))


def take_turns(
    ways: Mapping[str, Callable[[], Any]], rounds: int, inside: list[float]
) -> tuple[dict[str, Any], dict[str, list[float]], dict[str, list[float]]]:
    """What each way returns, its CPU seconds per round, and those of them that `inside` gets meanwhile.

    A first round warms up.
    """
    found: dict[str, Any] = {}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    models: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(rounds + 1):
        for way in list(ways)[:: 1 if number % 2 == 0 else -1]:
            inside.clear()
            began = time.process_time()
            found[way] = ways[way]()
            seconds[way].append(time.process_time() - began)
            models[way].append(sum(inside))
    return (
        found,
        {way: values[1:] for way, values in seconds.items()},
        {way: values[1:] for way, values in models.items()},
    )


# --- A folder ----------------------------------------------------------------------------------------


def measure_folder(
    predictor: mien.Predictor, files: Sequence[Path], folder: Path, arguments: argparse.Namespace
) -> dict[str, Any]:
    options = ["--run", str(folder / "run"), "--detector", str(folder / "detector")]
    command = [*MIEN, "predict", str(files[0]), *options]
    processes = [cpu_seconds(command, folder) for _ in range(arguments.rounds)]
    sample = files[:: max(1, len(files) // arguments.sample)][: arguments.sample]
    compared = compare_batches(predictor, sample, arguments.rounds)
    began = time.process_time()
    num_people = sum(len(results) for results in predictor.stream(files[0].parent))
    whole = time.process_time() - began
    zero_shot = mien.Predictor.zero_shot("playhouse", device="cpu", detector=predictor.detector)
    one_process = statistics.median(processes)
    return {
        "images": len(files),
        "people": num_people,
        "cpu_seconds_of_the_folder": round(whole, 2),
        "cpu_seconds_of_a_process_with_one_image": [round(value, 2) for value in processes],
        # A folder takes a process, too.
        "one_process_per_image_to_batches": round(len(files) * one_process / (one_process + whole), 1),
        "one_at_a_time_to_batches": compared["ratio"],
        "sample": compared,
        "zero_shot_sample": {
            **compare_batches(zero_shot, sample[: arguments.zero_shot], arguments.rounds),
            "floor": measure_floor(),
        },
    }


def measure_floor() -> dict[str, float]:
    """The least time that the products of matrices take for the labels of one person."""
    engine = LocalEngine("playhouse")
    labels = open_labels(EMOTIC.name)
    questions = [fill_question(QUESTION, label, labels) for label in EMOTIC.labels]
    images = (Image.new("RGB", (_SIDE, _SIDE)),)
    with FlopCounterMode(display=False) as counter:
        PrefixScorer(engine._model).yes_probabilities([images], [questions])
    one, other = torch.randn(1024, 1024), torch.randn(1024, 1024)
    seconds = []
    for _ in range(20):
        began = time.process_time()
        one @ other
        seconds.append(time.process_time() - began)
    rate = 2 * 1024**3 / min(seconds)
    return {
        "gflop_per_person": round(counter.get_total_flops() / 1e9, 3),
        "gflop_per_second": round(rate / 1e9, 1),
        "ms_per_person": round(1000 * counter.get_total_flops() / rate, 1),
    }


def compare_batches(predictor: SubjectPredictor, files: Sequence[Path], rounds: int) -> dict[str, Any]:
    ways: dict[str, Callable[[], Any]] = {
        "batches": lambda: list(predictor.stream(files)),
        "one at a time": lambda: list(map(predictor, files)),
    }
    found, seconds, _ = take_turns(ways, rounds, [])
    boxes = {way: [[person.box for person in one] for one in results] for way, results in found.items()}
    assert boxes["batches"] == boxes["one at a time"]
    medians = {way: statistics.median(values) for way, values in seconds.items()}
    return {
        "images": len(files),
        "people": sum(map(len, boxes["batches"])),
        "cpu_seconds": rounded(seconds),
        "ms_per_person": {
            way: round(1000 * value / max(1, sum(map(len, boxes[way]))), 1) for way, value in medians.items()
        },
        "ratio": round(medians["one at a time"] / medians["batches"], 2),
    }


# --- Overhead ----------------------------------------------------------------------------------------


def measure_overhead(
    predictor: mien.Predictor, detector: Path, files: Sequence[Path], rounds: int
) -> dict[str, Any]:
    bare, inside = Bare(predictor, detector), time_models()
    ways: dict[str, Callable[[], Any]] = {
        "bare": partial(bare, files),
        "mien": partial(scores_of, predictor, files),
    }
    found, seconds, models = take_turns(ways, rounds, inside)
    difference = float(np.abs(np.subtract(found["bare"], found["mien"])).max())
    assert difference < 1e-3, f"the scores differ by {difference}"
    whole = {way: statistics.median(values) for way, values in seconds.items()}
    outside = {way: statistics.median(np.subtract(seconds[way], models[way]).tolist()) for way in seconds}
    within = statistics.median(models["mien"])
    return {
        "images": len(files),
        "people": len(found["mien"]),
        "largest_difference_of_a_score": difference,
        "cpu_seconds": rounded(seconds),
        "of_these_in_models": rounded(models),
        "outside_of_models_ms_per_image": {
            way: round(1000 * value / len(files), 2) for way, value in outside.items()
        },
        "ratio": round(whole["mien"] / whole["bare"], 3),
        "overhead": round((outside["mien"] - outside["bare"]) / (within + outside["bare"]), 3),
    }


def scores_of(predictor: mien.Predictor, files: Sequence[Path]) -> list[list[float]]:
    found = []
    for results in predictor.stream(files):
        assert not results.errors
        found += [[person.scores[label] for label in EMOTIC.labels] for person in results]
    return found


def time_models() -> list[float]:
    """Gets the seconds of each call of a model from now on, in the thread that calls it."""
    taken: list[float] = []
    for owner, method in (
        (transformers.RTDetrV2ForObjectDetection, "forward"),
        (transformers.LlavaForConditionalGeneration, "generate"),
        (VisionEncoder, "encode"),
        (Classifier, "forward"),
    ):
        setattr(owner, method, _timed(getattr(owner, method), taken))
    return taken


def _timed(function: Any, taken: list[float]) -> Any:
    @wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        began = time.thread_time()
        try:
            return function(*arguments, **options)
        finally:
            taken.append(time.thread_time() - began)

    return call


class Bare:
    """The models one after another, in the simplest loop that keeps batches full.

    Args:
        predictor: Has the trained classifier, with its tokenizer and encoder.
        detector: The folder of the detector.
    """

    def __init__(self, predictor: mien.Predictor, detector: Path) -> None:
        embedded = embedded_model_folder("llava")
        self.detector = transformers.RTDetrV2ForObjectDetection.from_pretrained(detector).eval()
        self.detector_processor = RTDetrImageProcessorPil.from_pretrained(detector)
        self.vlm = transformers.LlavaForConditionalGeneration.from_pretrained(embedded).eval()
        self.processor = transformers.LlavaProcessor(
            image_processor=CLIPImageProcessorPil.from_pretrained(embedded),
            tokenizer=transformers.AutoTokenizer.from_pretrained(embedded),
            patch_size=self.vlm.config.vision_config.patch_size,
            vision_feature_select_strategy="default",
            num_additional_image_tokens=1,
            chat_template=(embedded / "chat_template.jinja").read_text(),
        )
        assert predictor.vision is not None
        assert predictor.text_stage is not None
        self.encoder, self.tokenizer = predictor.vision.encoder, predictor.text_stage.tokenizer
        self.classifier = predictor.trained.classifier
        question = get_prompt("paper").render(EMOTIC)
        content = [{"type": "image"}, {"type": "text", "text": question}]
        self.prompt = self.processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True
        )

    @torch.inference_mode()
    def __call__(self, files: Sequence[Path]) -> list[list[float]]:
        scores = []
        for squares in batched(self.people(files), _BATCH):
            scores += self.classify(squares, self.describe(squares))
        return scores

    def people(self, files: Sequence[Path]) -> Iterator[Image.Image]:
        """The square of each person found: the image with the box drawn, made to fit."""
        for batch in batched(files, _DETECTOR_BATCH):
            images = [Image.open(file).convert("RGB") for file in batch]
            pixels = self.detector_processor(images=images, return_tensors="pt")["pixel_values"]
            found = self.detector_processor.post_process_object_detection(
                self.detector(pixel_values=pixels),
                threshold=0.5,
                target_sizes=[(image.height, image.width) for image in images],
            )
            for image, result in zip(images, found, strict=True):
                for box in people_in(result, image.size):
                    yield letterbox(outline(image, box))

    def describe(self, squares: list[Image.Image]) -> list[str]:
        inputs = self.processor(
            text=[self.prompt] * len(squares),
            images=[[square] for square in squares],
            padding=True,
            padding_side="left",
            return_tensors="pt",
            add_special_tokens=not self.prompt.startswith(self.processor.tokenizer.bos_token),
        )
        tokens = self.vlm.generate(**inputs, max_new_tokens=_MAX_NEW_TOKENS, do_sample=False)
        texts = self.processor.tokenizer.batch_decode(
            tokens[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True
        )
        return [text.strip() for text in texts]

    def classify(self, squares: list[Image.Image], texts: list[str]) -> list[list[float]]:
        features = self.encoder.encode(np.stack([np.asarray(square)[None] for square in squares]))
        ids, mask = self.tokenizer.encode(texts)
        logits = self.classifier(features.half().float(), ids, mask).logits
        scores: list[list[float]] = logits.sigmoid().tolist()
        return scores


def people_in(result: Any, size: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    """Boxes of class 0 in whole pixels, the highest score first, without those that are under 8 pixels."""
    is_person = result["labels"] == 0
    edges = (result["boxes"][is_person].clip(min=0).minimum(torch.tensor([*size, *size])) + 0.5).floor()
    scores = result["scores"][is_person].double().numpy().round(4).tolist()
    rows = sorted(zip(scores, edges.int().tolist(), strict=True), key=lambda row: (-row[0], row[1]))
    return [(*box,) for _, box in rows if box[2] - box[0] >= 8 and box[3] - box[1] >= 8]


def outline(image: Image.Image, box: tuple[int, int, int, int]) -> Image.Image:
    line, (width, height) = round(0.01 * max(image.size)), image.size
    left, top, right, bottom = box
    edges = (max(0, left - line), max(0, top - line), min(width, right + line), min(height, bottom + line))
    marked = image.copy()
    pen = ImageDraw.Draw(marked)
    pen.rectangle((*edges[:2], edges[2] - 1, edges[3] - 1), outline=(255, 0, 0), width=line)
    return marked


def letterbox(image: Image.Image) -> Image.Image:
    scale = _SIDE / max(image.size)
    width, height = (round(side * scale) for side in image.size)
    square = Image.new("RGB", (_SIDE, _SIDE), (124, 116, 104))
    resized = image.resize((width, height), Image.Resampling.BICUBIC)
    square.paste(resized, ((_SIDE - width) // 2, (_SIDE - height) // 2))
    return square


if __name__ == "__main__":
    main()
