"""ONNX against torch: how far the scores of people differ, and what each costs on a CPU.

    PYTHONPATH=src:. python benchmarks/onnx_speed.py [--run RUN] [--subjects N] [--out FILE.json]

Without --run, a Q-Former of the size of recipes/playhouse.toml reads Playhouse people, by the embedded
encoder, and descriptions by the engine `fake`. It is trained for a moment: how good it is changes neither the
differences nor the time. Both use one thread. Seconds are those of the process, so that other programs on
the machine count less; the order of torch and ONNX alternates.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections import defaultdict
from importlib import metadata
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from mien.cli import main as run_command
from mien.export.onnx import ScoringModel, export_onnx, token_model
from mien.features.image_reader import load_pixels
from mien.files import cache_directory
from mien.media.images import Marking
from mien.predict.loading import LoadedModel, find_source, load_model
from mien.workflow.experiment import find_descriptions, load_experiment

RECIPE = """
name = "onnx"
data = {{ name = "playhouse", options = {{ train = 16, val = 16, test = {subjects}, seed = 7 }} }}
describe = {{ engine = "fake" }}
features = {{ max_text_tokens = 112 }}
train = {{ epochs = 1, batch_size = 8 }}
evaluate = {{ bootstrap = 10 }}
run = {{ threads = 1 }}

[model]
fusion = "qformer"
width = 96
layers = 2
heads = 4
num_queries = 8
cross_every = 1
label_names = true
options = {{ feedforward = 2 }}
"""
BATCH, SINGLE = 32, 100


def make_run(home: Path, subjects: int) -> Path:
    os.environ["XDG_CACHE_HOME"] = str(home / "cache")
    (home / "onnx.toml").write_text(RECIPE.format(subjects=subjects))
    for words in (["describe", "run"], ["train"]):
        assert run_command([*words, str(home / "onnx.toml"), "--out", str(home / "run")]) == 0
    return home / "run"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--run", type=Path, help="a run with its descriptions and features, not one of our own"
    )
    parser.add_argument("--subjects", type=int, default=1000)
    parser.add_argument("--encoded", type=int, default=100, help="subjects whose images are encoded by both")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        run = arguments.run or make_run(home, arguments.subjects)
        loaded = load_model(find_source(run), device="cpu", describes=False)
        export_onnx(loaded, home / "onnx")
        results = compare(run, loaded, home / "onnx", arguments.subjects, arguments.encoded)
    results["versions"] = {
        name: metadata.version(name) for name in ("torch", "onnxruntime", "onnx", "onnxscript")
    }
    text = json.dumps(results, indent=2)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n")


def compare(
    run: Path, loaded: LoadedModel, folder: Path, num_subjects: int, num_encoded: int
) -> dict[str, object]:
    experiment = load_experiment(run, cache=cache_directory())
    samples = experiment.samples("test")[:num_subjects]
    data = experiment.input_builder.build_split(
        "test", samples, loaded.trained.label_set, descriptions=find_descriptions(experiment, samples).texts
    )
    assert data.images is not None
    assert data.texts is not None
    assert loaded.vision is not None
    timer, difference = _Timer(), 0.0
    scoring = ScoringModel(loaded.trained, loaded.calibration).eval()
    classifier = _session(folder / "classifier.onnx")
    for size, count in ((BATCH, len(samples)), (1, min(SINGLE, len(samples)))):
        for number, start in enumerate(range(0, count, size)):
            rows = np.arange(start, min(start + size, count))
            image = data.images.reader.read(rows).astype(np.float32)
            ids, mask = data.texts.ids[rows].long().numpy(), data.texts.mask[rows].numpy()
            inputs = {"image": image, "text_ids": ids, "text_mask": mask}
            difference = max(
                difference, timer.both(f"classifier, batches of {size}", scoring, classifier, inputs, number)
            )
    encoded = 0.0
    encoder = _session(folder / "encoder.onnx")
    vit = token_model(loaded)
    subjects = [sample.subject for sample in samples[:num_encoded]]
    for number, start in enumerate(range(0, len(subjects), BATCH)):
        batch = subjects[start : start + BATCH]
        pixels = np.concatenate(
            [load_pixels(subject, [Marking()], loaded.vision.square) for subject in batch]
        )
        encoded = max(
            encoded, timer.both(f"encoder, batches of {BATCH}", vit, encoder, {"pixels": pixels}, number)
        )
    return {
        "subjects": len(samples),
        "largest_difference_of_scores": difference,
        "encoded_subjects": len(subjects),
        "largest_difference_of_tokens": encoded,
        "threads": 1,
        **timer.summary(),
    }


def _session(file: Path) -> onnxruntime.InferenceSession:
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(file), settings, providers=["CPUExecutionProvider"])


class _Timer:
    """Runs both, in alternating order, and adds up their processor time."""

    def __init__(self) -> None:
        self.seconds: dict[tuple[str, str], float] = defaultdict(float)
        self.subjects: dict[str, int] = defaultdict(int)

    def both(
        self,
        name: str,
        model: torch.nn.Module,
        session: onnxruntime.InferenceSession,
        inputs: dict[str, np.ndarray],
        number: int,
    ) -> float:
        """The largest difference of outputs."""
        found: dict[str, list[np.ndarray]] = {}
        for library in ("torch", "onnx") if number % 2 else ("onnx", "torch"):
            start = time.process_time()
            if library == "torch":
                with torch.inference_mode():
                    outputs = model(*map(torch.from_numpy, inputs.values()))
                    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
                    found[library] = [value.numpy() for value in outputs]
            else:
                found[library] = session.run(None, inputs)
            self.seconds[name, library] += time.process_time() - start
        self.subjects[name] += len(next(iter(inputs.values())))
        pairs = zip(found["torch"], found["onnx"], strict=True)
        return max(float(np.abs(one - other).max()) for one, other in pairs)

    def summary(self) -> dict[str, object]:
        """Milliseconds per subject, and how many times as long torch takes."""
        return {
            "milliseconds_per_subject": {
                f"{name}, {library}": round(1000 * value / self.subjects[name], 3)
                for (name, library), value in self.seconds.items()
            },
            "torch_over_onnx": {
                name: round(self.seconds[name, "torch"] / self.seconds[name, "onnx"], 2)
                for name in self.subjects
            },
        }


if __name__ == "__main__":
    main()
