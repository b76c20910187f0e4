"""Real models on real photographs: everyone is described, in a store, and the same again."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.factories.shared_data import shared

from mien.cli import main
from mien.describe.store.store import Store

ROOT = Path(__file__).parents[3]


def options(tmp_path: Path, **options: Any) -> list[str]:
    weights = {
        "faces": "face_detection_yunet.onnx",
        "expression": "face_expression7.onnx",
        "pose": "movenet-lightning.onnx",
    }
    overrides = {
        "data.root": shared("emotic-photos") / "manifest.jsonl",
        "data.options": "{ limit = 6 }",
        "describe.engine": "cues",
        "describe.model": shared("weights", "yolox_nano_416_coco80.onnx"),
        **{f"describe.options.{key}": shared("weights", file) for key, file in weights.items()},
        **options,
    }
    return [part for key, value in overrides.items() for part in ("--set", f"{key}={value}")]


def texts(run: Path) -> list[str]:
    with Store(run / "descriptions.sqlite") as store:
        return [item.text for item in store]


def test_everyone_is_described_and_only_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    command = ["describe", str(ROOT / "recipes" / "photos.toml"), "--json"]

    def describe(*more: str, **changed: Any) -> dict[str, Any]:
        assert main([*command, *options(tmp_path, **changed), *more]) == 0
        document: dict[str, Any] = json.loads(capsys.readouterr().out)
        return document

    first = describe("--out", str(tmp_path / "one"))
    assert (first["described"], first["failed"]) == (12, 0)
    found = texts(tmp_path / "one")
    assert all(text.startswith(("The ", "No ", "Only ")) for text in found)
    assert any("in the red box" in text for text in found)
    assert any("The main person" in text for text in found)
    assert any("They stand" in text for text in found)
    assert describe("--out", str(tmp_path / "one"))["already_described"] == 12
    # One by one, on one thread, and as a crop: the first two are the same.
    describe("--out", str(tmp_path / "two"), **{"run.batch_size": 1, "run.threads": 1})
    assert sorted(texts(tmp_path / "two")) == sorted(found)
    assert describe("--out", str(tmp_path / "one"), **{"describe.marking": "crop"})["described"] > 0
