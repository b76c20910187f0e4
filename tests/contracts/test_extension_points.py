"""One new file and one table line add a component of any kind; nothing else is edited."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest
from PIL import Image

import mien
from mien import registry
from mien.predict.detect.detector import Detection
from mien.predict.detect.open import open_detector
from mien.types import Box

# One file with a component of each kind.
SOURCE = """
import torch
import torch.nn.functional as F

from mien.describe.engine import Engine, Reply
from mien.model.fusion import Fusion
from mien.predict.detect.detector import Detection, Detector
from mien.train.losses import LossOptions, label_loss
from mien.types import Box


class Echo(Engine):
    name = "echo"
    signature = {"engine": "echo", "version": 1}

    @classmethod
    def open(cls, options, run):
        return cls()

    def describe(self, requests):
        return [Reply(text=f"The person of {len(request.images)} image.") for request in requests]


class MeanFusion(Fusion):
    uses_image, uses_text = True, False

    def __init__(self, options, *, image_dim, vocab_size):
        super().__init__(options, image_dim=image_dim, vocab_size=vocab_size)
        self.dim = image_dim

    def forward(self, image, text_ids, text_mask):
        return self.prepare_image(image).mean(dim=1)


class SquaredOptions(LossOptions):
    pass


@label_loss(SquaredOptions)
def squared_error(logits, targets):
    return F.mse_loss(torch.sigmoid(logits), targets)


class Corner(Detector):
    name = "corner"
    signature = {"detector": "corner"}

    @classmethod
    def open(cls, model, options, *, device):
        return cls()

    def detect(self, images):
        boxes = [Box(left=0, top=0, right=image.width // 2, bottom=image.height) for image in images]
        return [[Detection(box=box, score=1.0)] for box in boxes]
"""
LINES: Mapping[str, tuple[str, str]] = {
    "engine": ("echo", "own_parts:Echo"),
    "fusion": ("mean", "own_parts:MeanFusion"),
    "loss": ("squared", "own_parts:squared_error"),
    "detector": ("corner", "own_parts:Corner"),
}
RECIPE = """
name = "own"
data = { name = "playhouse", options = { train = 8, val = 4, test = 4, seed = 3 } }
describe = { engine = "echo" }
model = { fusion = "mean" }
train = { loss = "squared", epochs = 1, batch_size = 4 }
evaluate = { bootstrap = 10 }
run = { threads = 1 }
"""


@pytest.fixture
def with_own_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry with one more line per kind."""
    (tmp_path / "own_parts.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    tables = {kind: dict(table) for kind, table in registry.TABLES.items()}
    for kind, (name, place) in LINES.items():
        tables.setdefault(kind, {})[name] = place
    monkeypatch.setattr(registry, "TABLES", MappingProxyType(tables))


@pytest.mark.usefixtures("with_own_parts")
def test_a_recipe_uses_an_engine_a_fusion_and_a_loss_from_outside(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(RECIPE)
    run, cache = tmp_path / "run", tmp_path / "cache"
    assert mien.describe(tmp_path / "own.toml", out=run, cache=cache).done == 16
    trained = mien.train(tmp_path / "own.toml", out=run, cache=cache)
    evaluation = mien.evaluate(trained, cache=cache)
    assert [row.n for row in evaluation.rows if row.metric == "mAP"] == [4]
    recorded = json.loads((run / "manifest.json").read_text())["recipe"]
    assert (recorded["describe"]["engine"], recorded["model"]["fusion"]) == ("echo", "mean")
    assert len(mien.Predictor.from_pretrained(run, device="cpu").trained.label_set) == 26


@pytest.mark.usefixtures("with_own_parts")
@pytest.mark.parametrize("name", ["corner", "own_parts:Corner"])
def test_a_detector_from_outside_is_opened_by_its_name(name: str) -> None:
    found = open_detector(name).detect([Image.new("RGB", (40, 30))])
    assert found == [[Detection(box=Box(left=0, top=0, right=20, bottom=30), score=1.0)]]


@pytest.mark.usefixtures("with_own_parts")
def test_what_is_not_a_detector_is_named() -> None:
    with pytest.raises(mien.MienError, match="'own_parts:Echo' is not a detector"):
        open_detector("own_parts:Echo")


@pytest.mark.usefixtures("with_own_parts")
@pytest.mark.parametrize("kind", list(LINES))
def test_a_line_makes_a_name_known_and_its_neighbors_a_hint(kind: str) -> None:
    name, _ = LINES[kind]
    assert name in registry.registered_names(kind)
    component = registry.resolve(kind, name)
    assert callable(component)
    with pytest.raises(mien.MienError) as caught:
        registry.resolve(kind, f"{name}x")
    assert name in str(caught.value.hint)
