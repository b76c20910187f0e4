"""ONNX against torch: how far the scores of people differ, and what each costs on a CPU.

    PYTHONPATH=src:. python benchmarks/onnx_speed.py [--run RUN] [--subjects N] [--out FILE.json]

Without --run, a Q-Former of the size of recipes/playhouse.toml reads Playhouse people, by the embedded
encoder, and descriptions by the engine `fake`. It is trained for a moment: how good it is changes neither the
differences nor the time. Both use one thread. Seconds are those of the process, so that other programs on
the machine count less; the order of torch and ONNX alternates.

The classifier alone reads cached features. The chain goes from the pixels of the marked photo to scores. As
tokens are not between 0 and 1, their difference is given next to the largest token, and next to how far each
library is from the same encoder in float64.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
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
_Call = Callable[[], list[np.ndarray]]


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
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        run = arguments.run or make_run(home, arguments.subjects)
        loaded = load_model(find_source(run), device="cpu", describes=False)
        export_onnx(loaded, home / "onnx")
        results = compare(run, loaded, home / "onnx", arguments.subjects)
    results["versions"] = {
        name: metadata.version(name) for name in ("torch", "onnxruntime", "onnx", "onnxscript")
    }
    text = json.dumps(results, indent=2)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n")


def compare(run: Path, loaded: LoadedModel, folder: Path, num_subjects: int) -> dict[str, object]:
    experiment = load_experiment(run, cache=cache_directory())
    samples = experiment.samples("test")[:num_subjects]
    data = experiment.input_builder.build_split(
        "test", samples, loaded.trained.label_set, descriptions=find_descriptions(experiment, samples).texts
    )
    assert data.images is not None
    assert data.texts is not None
    assert loaded.vision is not None
    scoring = ScoringModel(loaded.trained, loaded.calibration).eval()
    classifier = _session(folder / "classifier.onnx")
    encoder, vit = _session(folder / "encoder.onnx"), token_model(loaded)
    exact = copy.deepcopy(vit).double()
    timer, tokens = _Timer(), _Tokens()
    largest = {"cached_features": 0.0, "chain": 0.0}

    def from_pixels_by_torch(pixels: np.ndarray, *texts: np.ndarray) -> list[np.ndarray]:
        return _torch(scoring, _torch(vit, pixels)[0], *texts)

    def from_pixels_by_onnx(pixels: np.ndarray, *texts: np.ndarray) -> list[np.ndarray]:
        return _onnx(classifier, _onnx(encoder, pixels)[0], *texts)

    for size, count in ((BATCH, len(samples)), (1, min(SINGLE, len(samples)))):
        for number, start in enumerate(range(0, count, size)):
            rows = np.arange(start, min(start + size, count))
            texts = (data.texts.ids[rows].long().numpy(), data.texts.mask[rows].numpy())
            features = data.images.reader.read(rows).astype(np.float32)
            subjects = [samples[row].subject for row in rows]
            started = time.process_time()
            images = [load_pixels(subject, [Marking()], loaded.vision.square) for subject in subjects]
            timer.add(f"photo to pixels, batches of {size}", "both", len(rows), time.process_time() - started)
            pixels = np.concatenate(images)
            found = timer.both(
                f"classifier, batches of {size}",
                number,
                partial(_torch, scoring, features, *texts),
                partial(_onnx, classifier, features, *texts),
                len(rows),
            )
            largest["cached_features"] = max(largest["cached_features"], _difference(*found))
            found = timer.both(
                f"encoder, batches of {size}",
                number,
                partial(_torch, vit, pixels),
                partial(_onnx, encoder, pixels),
                len(rows),
            )
            if size == BATCH:
                tokens.add(found[0][0], found[1][0], _exact_tokens(exact, pixels))
            found = timer.both(
                f"pixels to scores, batches of {size}",
                number,
                partial(from_pixels_by_torch, pixels, *texts),
                partial(from_pixels_by_onnx, pixels, *texts),
                len(rows),
            )
            largest["chain"] = max(largest["chain"], _difference(*found))
    return {
        "subjects": len(samples),
        "largest_difference_of_scores": largest,
        "tokens": tokens.summary(),
        "threads": 1,
        **timer.summary(),
    }


def _torch(model: torch.nn.Module, *inputs: np.ndarray) -> list[np.ndarray]:
    with torch.inference_mode():
        outputs = model(*map(torch.from_numpy, inputs))
    return [value.numpy() for value in (outputs if isinstance(outputs, tuple) else (outputs,))]


def _onnx(session: onnxruntime.InferenceSession, *inputs: np.ndarray) -> list[np.ndarray]:
    names = [given.name for given in session.get_inputs()]
    found: list[np.ndarray] = session.run(None, dict(zip(names, inputs, strict=True)))
    return found


def _exact_tokens(exact: torch.nn.Module, pixels: np.ndarray) -> np.ndarray:
    """The tokens in float64; the module casts pixels to float32, which is exact for 0 to 255."""
    with torch.inference_mode():
        scaled = torch.from_numpy(pixels).permute(0, 3, 1, 2).double() / 255
        tokens: np.ndarray = exact._tokens((scaled - exact._mean) / exact._std).numpy()
    return tokens


def _difference(one: list[np.ndarray], other: list[np.ndarray]) -> float:
    return max(float(np.abs(a - b).max()) for a, b in zip(one, other, strict=True))


class _Tokens:
    """How far tokens are from each other, and from those in float64."""

    def __init__(self) -> None:
        self.largest: dict[str, float] = defaultdict(float)

    def add(self, by_torch: np.ndarray, by_onnx: np.ndarray, exact: np.ndarray) -> None:
        pairs = {
            "torch_to_onnx": by_torch.astype(np.float64) - by_onnx,
            "torch_to_float64": by_torch - exact,
            "onnx_to_float64": by_onnx - exact,
            "largest_token": exact,
        }
        for name, values in pairs.items():
            self.largest[name] = max(self.largest[name], float(np.abs(values).max()))

    def summary(self) -> dict[str, float]:
        relative = self.largest["torch_to_onnx"] / self.largest["largest_token"]
        return {**self.largest, "torch_to_onnx_over_largest_token": relative}


def _session(file: Path) -> onnxruntime.InferenceSession:
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(file), settings, providers=["CPUExecutionProvider"])


class _Timer:
    """Adds up the processor time of both, which run in alternating order."""

    def __init__(self) -> None:
        self.seconds: dict[tuple[str, str], float] = defaultdict(float)
        self.subjects: dict[str, int] = defaultdict(int)

    def add(self, name: str, library: str, subjects: int, seconds: float) -> None:
        self.seconds[name, library] += seconds
        self.subjects[name] += subjects

    def both(
        self, name: str, number: int, by_torch: _Call, by_onnx: _Call, subjects: int
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """What torch and ONNX Runtime give."""
        calls, found = {"torch": by_torch, "onnx": by_onnx}, {}
        for library in ("torch", "onnx") if number % 2 else ("onnx", "torch"):
            started = time.process_time()
            found[library] = calls[library]()
            self.seconds[name, library] += time.process_time() - started
        self.subjects[name] += subjects
        return found["torch"], found["onnx"]

    def summary(self) -> dict[str, object]:
        """Milliseconds per subject, and how many times as long torch takes."""
        ratios = {
            name: self.seconds[name, "torch"] / self.seconds[name, "onnx"]
            for name, library in self.seconds
            if library == "torch"
        }
        for size in (BATCH, 1):
            photo = self.seconds[f"photo to pixels, batches of {size}", "both"]
            chain = f"pixels to scores, batches of {size}"
            ratios[f"photo to scores, batches of {size}"] = (photo + self.seconds[chain, "torch"]) / (
                photo + self.seconds[chain, "onnx"]
            )
        return {
            "milliseconds_per_subject": {
                f"{name}, {library}": round(1000 * value / self.subjects[name], 3)
                for (name, library), value in self.seconds.items()
            },
            "torch_over_onnx": {name: round(ratio, 2) for name, ratio in ratios.items()},
        }


if __name__ == "__main__":
    main()
