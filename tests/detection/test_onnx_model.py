"""Files of ONNX models, and which readers take them."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.factories.tiny_onnx import write_constants, write_random_yolox, write_yunet

from mien.detection.onnx_model import OnnxModel
from mien.detection.yolox import Yolox
from mien.detection.yunet import Yunet
from mien.errors import EngineError, WeightsError

pytest.importorskip("onnxruntime")


def test_a_file_is_read_at_once_and_started_when_it_is_needed(tmp_path: Path) -> None:
    file = tmp_path / "a.onnx"
    file.write_bytes(b"no model")
    model = OnnxModel(file, noun="detector")
    file.unlink()
    assert (model.name, len(model.digest)) == ("a", 64)
    with pytest.raises(WeightsError, match="not an ONNX model that can be run"):
        model.load()


def test_outputs_have_no_batch_axis(tmp_path: Path) -> None:
    model = OnnxModel(write_constants(tmp_path / "a.onnx", {"out": np.arange(6, dtype=np.float32)[None]}))
    assert model.input_shape == (1, 3, 64, 64)
    assert model.input_type == "tensor(float)"
    assert model.run(np.zeros((1, 3, 64, 64), np.float32))["out"].tolist() == [0, 1, 2, 3, 4, 5]
    with pytest.raises(EngineError, match="the model a failed"):
        model.run(np.zeros((1, 3, 32, 64), np.float32))


def test_readers_take_their_own_models_only(tmp_path: Path) -> None:
    yolox = OnnxModel(write_random_yolox(tmp_path / "a.onnx", classes=3))
    yunet = OnnxModel(write_yunet(tmp_path / "b.onnx", []))
    reader = Yolox.identify(yolox)
    assert reader is not None
    assert reader.num_classes == 3
    assert Yunet.identify(yunet) is not None
    assert (Yolox.identify(yunet), Yunet.identify(yolox)) == (None, None)
    boxes, scores = reader.propose(yolox.run, Image.new("RGB", (64, 48)))
    assert (boxes.shape, scores.shape) == ((21, 4), (21, 3))


def test_no_torch_is_needed(tmp_path: Path) -> None:
    file = write_random_yolox(tmp_path / "a.onnx")
    code = f"""
import sys
from PIL import Image
from mien.describe.cues.engine import CuesEngine
from mien.describe.engine import Request
request = Request(subject_id="s", images=(Image.new("RGB", (64, 64)),), prompt="")
assert CuesEngine({str(file)!r}).describe([request])[0].text
print({{"torch", "transformers"}} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
