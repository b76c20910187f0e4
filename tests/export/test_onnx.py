"""ONNX files give the numbers of torch, for any batch and any text, and need no torch."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from tests.export.conftest import Exported
from tests.factories.json_documents import check_document

from mien.batches.batch import TextInputs
from mien.errors import DataError
from mien.export.onnx import ScoringModel, example_inputs, export_onnx, token_model
from mien.features.image_reader import load_pixels
from mien.media.images import load_image_file
from mien.predict.loading import find_source, load_model
from mien.predict.predictor import Predictor
from mien.types import Box, Subject
from mien.workflow.experiment import load_experiment

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "share-models.md"
TOLERANCE = 1e-4
_WITHOUT_TORCH = """
import runpy, sys
sys.modules["torch"] = sys.modules["mien"] = None  # as if they were not installed
sys.argv = sys.argv[1:]
runpy.run_path("predict.py")
"""


def session(file: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize(("batch", "tokens"), [(1, 8), (3, 21), (7, 40)])
def test_the_classifier_agrees_for_any_batch_and_length(exported: Exported, batch: int, tokens: int) -> None:
    loaded = load_model(find_source(exported.run), device="cpu", describes=False)
    inputs = example_inputs(loaded, batch, tokens, seed=batch)
    with torch.inference_mode():
        expected = ScoringModel(loaded.trained, loaded.calibration).eval()(**inputs)
    found = session(exported.onnx / "classifier.onnx").run(
        ["scores", "dimensions"], {name: value.numpy() for name, value in inputs.items()}
    )
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other.numpy(), atol=TOLERANCE)
    assert found[0].std() > 10 * TOLERANCE, "scores that are all the same agree with anything"


def test_the_encoder_agrees(exported: Exported) -> None:
    loaded = load_model(find_source(exported.run), device="cpu", describes=False)
    assert loaded.vision is not None
    size = loaded.vision.preprocessing.size
    pixels = np.random.default_rng(1).integers(0, 256, (3, size, size, 3), dtype=np.uint8)
    with torch.inference_mode():
        expected = token_model(loaded)(torch.from_numpy(pixels)).numpy()
    found = session(exported.onnx / "encoder.onnx").run(["tokens"], {"pixels": pixels})[0]
    np.testing.assert_allclose(found, expected, atol=TOLERANCE, rtol=TOLERANCE)
    assert expected.std() > 0.1


def test_the_chain_from_pixels_to_scores_agrees_for_all_people(
    exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(exported.images))
    experiment = load_experiment(exported.run, cache=exported.images / "mien")
    predictor = Predictor.from_pretrained(exported.run, device="cpu")
    assert predictor.vision is not None
    assert predictor.text_stage is not None
    encoder, classifier = session(exported.onnx / "encoder.onnx"), session(exported.onnx / "classifier.onnx")
    subjects = [sample.subject for split in ("val", "test") for sample in experiment.samples(split)]
    largest = 0.0
    for prediction, subject in zip(predictor.predict(subjects), subjects, strict=True):
        assert prediction.description is not None
        pixels = load_pixels(subject, predictor.markings, predictor.vision.square)
        image = encoder.run(["tokens"], {"pixels": pixels})[0]
        text = TextInputs.encode([prediction.description.text], predictor.text_stage.tokenizer)
        inputs = {"image": image, "text_ids": text.ids.long().numpy(), "text_mask": text.mask.numpy()}
        found = classifier.run(["scores"], inputs)[0][0]
        largest = max(largest, float(np.abs(found - list(prediction.scores.values())).max()))
    assert len(subjects) == 14
    assert largest <= TOLERANCE


def test_the_predictor_of_the_page_needs_no_torch_and_gives_the_scores_of_mien(
    exported: Exported, tmp_path: Path
) -> None:
    (program,) = re.findall(r"```python\n(import json, sys\n.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(program.strip().splitlines()) <= 22
    (tmp_path / "predict.py").write_text(program)
    predictor = Predictor.from_pretrained(exported.run, device="cpu")
    for image in sorted(exported.images.rglob("test/*.png"))[:2]:
        width, height = load_image_file(image).image.size
        box = Box(left=20, top=30, right=width - 40, bottom=height - 10)
        (prediction,) = predictor.predict([Subject.still("one", image, box)])
        assert prediction.description is not None
        place = ",".join(map(str, box.as_tuple()))
        command = ["predict.py", str(exported.onnx), str(image), place, prediction.description.text]
        ended = subprocess.run(
            [sys.executable, "-c", _WITHOUT_TORCH, *command],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        scores = json.loads(ended.stdout)
        assert list(scores) == list(prediction.scores)
        np.testing.assert_allclose(list(scores.values()), list(prediction.scores.values()), atol=TOLERANCE)


def test_the_folder_says_what_the_models_take(exported: Exported) -> None:
    config = json.loads((exported.onnx / "config.json").read_text())
    check_document("onnx_config", config)
    assert config["onnx"]["classifier"] == {
        "inputs": ["image", "text_ids", "text_mask"],
        "outputs": ["scores", "dimensions"],
    }
    assert config["image"]["fit"] == "letterbox"
    names = {file.name for file in exported.onnx.iterdir()}
    assert names == {"classifier.onnx", "encoder.onnx", "tokenizer.json", "config.json"}


def test_only_an_empty_folder_is_written(exported: Exported, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="is not an empty folder"):
        export_onnx(load_model(find_source(exported.run), device="cpu", describes=False), tmp_path)
